"use strict";
// Shows openapi.json. Everything is set as text, never as HTML: descriptions are data.

function node(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// Prose, what stands between backticks as code.
function prose(tag, text) {
  const made = node(tag);
  String(text ?? "").split("`").forEach((part, i) => made.append(i % 2 ? node("code", part) : part));
  return made;
}

function nameOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(nameOf).join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return `list of ${nameOf(schema.items) || "anything"}`;
  return schema.format ? `${schema.type} (${schema.format})` : schema.type || "anything";
}

function link(schema) {
  const name = nameOf(schema);
  const target = (schema && (schema.$ref || (schema.items && schema.items.$ref))) || "";
  return target ? node("a", name, { href: `#schema-${target.split("/").pop()}` }) : node("code", name);
}

function table(heads, rows) {
  const made = node("table");
  const head = made.appendChild(node("thead")).appendChild(node("tr"));
  heads.forEach((text) => head.appendChild(node("th", text)));
  const body = made.appendChild(node("tbody"));
  for (const row of rows) {
    const line = body.appendChild(node("tr"));
    for (const cell of row) {
      const place = line.appendChild(node("td"));
      place.append(cell instanceof Node ? cell : String(cell ?? ""));
    }
  }
  return made;
}

function parameters(call) {
  return table(
    ["parameter", "in", "type", "meaning"],
    call.parameters.map((p) => [
      p.required ? `${p.name} (required)` : p.name, p.in, node("code", nameOf(p.schema)), prose("span", p.description),
    ]),
  );
}

function answers(call) {
  return table(
    ["status", "meaning", "body"],
    Object.entries(call.responses).map(([status, answer]) => {
      const kinds = Object.entries(answer.content || {});
      const body = kinds.length ? link(kinds[0][1].schema) : "";
      return [status, prose("span", answer.description), body];
    }),
  );
}

function shell(verb, path, call, base) {
  const lines = [`curl --request ${verb.toUpperCase()} \\`, `  --url ${base}${path} \\`];
  if (call.security) lines.push('  --header "Authorization: Bearer <key>" \\');
  if (call.requestBody && call.requestBody.content["multipart/form-data"]) {
    lines.push("  --form file=@talk.mp4 \\");
  } else if (call.requestBody) {
    lines.push('  --header "Content-Type: application/json" \\', `  --data '${example(call)}' \\`);
  }
  return lines.join("\n").replace(/ \\$/, "");
}

let schemas = {};

function example(call) {
  const schema = call.requestBody.content["application/json"].schema;
  const found = (schemas[schema.$ref.split("/").pop()].examples || [{}])[0];
  return JSON.stringify(found, null, 2);
}

function section(verb, path, call, base) {
  const made = node("details", undefined, { id: call.operationId });
  const head = made.appendChild(node("summary"));
  head.append(node("span", verb.toUpperCase(), { class: `verb ${verb}` }), node("code", path), " ");
  head.append(node("small", call.summary));
  const inside = made.appendChild(node("div"));
  inside.append(prose("p", call.description));
  if (call.parameters) inside.append(parameters(call));
  if (call.requestBody && call.requestBody.content["application/json"]) {
    const line = inside.appendChild(node("p", "Body: "));
    line.append(link(call.requestBody.content["application/json"].schema));
  }
  inside.append(node("pre", shell(verb, path, call, base)), answers(call));
  return made;
}

function schemaSection(name, schema) {
  const made = node("details", undefined, { id: `schema-${name}` });
  made.appendChild(node("summary")).append(node("code", name), " ", prose("small", schema.description));
  const needed = new Set(schema.required || []);
  const rows = Object.entries(schema.properties || {}).map(([key, value]) => [
    needed.has(key) ? `${key} (required)` : key, link(value), prose("span", value.description),
    value.default === undefined ? "" : JSON.stringify(value.default),
  ]);
  made.appendChild(node("div")).append(table(["field", "type", "meaning", "default"], rows));
  return made;
}

function show(api) {
  const base = location.href.replace(/\/docs.*$/, "");
  schemas = api.components.schemas;
  document.getElementById("title").textContent = `${api.info.title} ${api.info.version}`;
  document.getElementById("about").replaceChildren(prose("span", api.info.description));
  const contents = document.getElementById("contents");
  const calls = document.getElementById("calls");
  for (const tag of api.tags) {
    contents.append(node("a", tag.name, { href: `#${encodeURIComponent(tag.name)}` }));
    calls.append(node("h2", tag.name, { id: encodeURIComponent(tag.name) }), prose("p", tag.description));
    for (const [path, verbs] of Object.entries(api.paths)) {
      for (const [verb, call] of Object.entries(verbs)) {
        if ((call.tags || [])[0] === tag.name) calls.append(section(verb, path, call, base));
      }
    }
  }
  const place = document.getElementById("schemas");
  place.append(node("h2", "Schemas"));
  Object.entries(schemas).forEach(([name, schema]) => place.append(schemaSection(name, schema)));
}

fetch("openapi.json")
  .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(`status ${answer.status}`))))
  .then(show)
  .catch((error) => {
    document.getElementById("about").textContent = `openapi.json cannot be read: ${error.message}`;
  });
