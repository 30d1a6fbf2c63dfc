// Swagger UI fills every example in, and filters filled in by nobody answer nothing: what may be
// left out stays empty, and its example is told.
function leftEmpty(openapi) {
  for (const operations of Object.values(openapi.paths)) {
    for (const { parameters = [] } of Object.values(operations)) {
      for (const parameter of parameters) {
        const example = parameter.schema?.example;
        if (parameter.required || example === undefined) continue;
        delete parameter.schema.example;
        parameter.description += `\n\nExample: \`${[example].flat().join(", ")}\``;
      }
    }
  }
  return openapi;
}

// The API may be shown under a path of a reverse proxy, which knows of it alone.
const root = new URL(".", window.location.href);
const openapiUrl = new URL("openapi.json", root).href;

// validatorUrl null: Swagger UI would otherwise send the document to a validator on another site.
window.ui = SwaggerUIBundle({
  url: openapiUrl,
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  tryItOutEnabled: true,
  validatorUrl: null,
  responseInterceptor(response) {
    if (response.ok && response.url === openapiUrl) {
      const openapi = leftEmpty(JSON.parse(response.text));
      openapi.servers[0].url = root.pathname;
      response.text = JSON.stringify(openapi);
    }
    return response;
  },
});
