import tailwindcss from "@tailwindcss/vite";
import { defineConfig } from "vitest/config";

/** Where `npm run dev` finds a running server. */
const SERVER = "http://127.0.0.1:8000";

export default defineConfig({
  plugins: [tailwindcss()],
  build: {
    outDir: "../src/sensorflow/web/page",
    emptyOutDir: true,
    // The server's Content-Security-Policy allows neither inline script nor data: fonts or scripts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // Swagger UI is one file of about 1.5 MB; only docs.html loads it.
    chunkSizeWarningLimit: 1600,
    rolldownOptions: { input: ["index.html", "docs.html"] },
  },
  server: {
    proxy: {
      "/api": SERVER,
      "/openapi.json": SERVER,
      "/ws": { target: SERVER, ws: true },
    },
  },
  test: { include: ["tests/**/*.test.ts"] },
});
