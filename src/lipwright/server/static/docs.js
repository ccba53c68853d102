"use strict";
// Shows openapi.json with Swagger UI. API keys stay in memory and are lost on reload.

// Calls go to where this page comes from, also behind a proxy that adds a path prefix.
const base = location.origin + location.pathname.replace(/\/docs$/, "");

async function loadDocument() {
  const response = await fetch("openapi.json");
  if (!response.ok) throw new Error(`status ${response.status}`);
  const api = await response.json();
  const externalDocs = { description: "openapi.json", url: `${base}/openapi.json` };
  return { ...api, externalDocs, servers: [{ url: base }] };
}

function showError(error) {
  document.getElementById("api").textContent = `openapi.json cannot be loaded: ${error.message}`;
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const applyTheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", applyTheme);
applyTheme();

loadDocument()
  .then((spec) =>
    SwaggerUIBundle({
      spec,
      dom_id: "#api",
      deepLinking: true,
      defaultModelsExpandDepth: 0,
      displayRequestDuration: true,
      persistAuthorization: false,
      validatorUrl: null, // the default sends the document to a foreign host
    }),
  )
  .catch(showError);
