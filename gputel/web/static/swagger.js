// Swagger UI fills every example in, and filters filled in by nobody answer nothing: what may be
// left out stays empty, and its example is told.
function leftEmpty(text) {
  const openapi = JSON.parse(text);
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
  return JSON.stringify(openapi);
}

// validatorUrl null: Swagger UI would otherwise send the document to a validator on another site.
window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  tryItOutEnabled: true,
  validatorUrl: null,
  responseInterceptor(response) {
    if (response.ok && new URL(response.url).pathname === "/openapi.json") {
      response.text = leftEmpty(response.text);
    }
    return response;
  },
});
