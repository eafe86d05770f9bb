import { effect } from "@preact/signals";
import SwaggerUI from "swagger-ui-dist/swagger-ui-es-bundle.js";
import "../styles/docs.css";
import { createLanguageChoice } from "../i18n/language";
import { createThemeChoice } from "../theme";

createLanguageChoice();
const theme = createThemeChoice();

// Swagger UI has its own name for the dark theme.
effect(() => {
  document.documentElement.classList.toggle("dark-mode", theme.inForce.value === "dark");
});

SwaggerUI({
  url: "/openapi.json",
  domNode: document.getElementById("docs"),
  deepLinking: true,
  // The badge would be fetched from another host.
  validatorUrl: null,
});
