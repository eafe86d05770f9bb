declare module "swagger-ui-dist/swagger-ui-es-bundle.js" {
  interface SwaggerUIOptions {
    readonly url: string;
    readonly domNode: HTMLElement | null;
    readonly deepLinking?: boolean;
    readonly validatorUrl?: string | null;
  }
  /** Draws the description at `url` into `domNode`. */
  export default function SwaggerUI(options: SwaggerUIOptions): unknown;
}
