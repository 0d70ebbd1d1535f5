// Shows the OpenAPI document. It loads nothing but that document, and builds the
// page from text nodes only.
"use strict";

const el = (tag, attrs = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attrs)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

const resolve = (doc, schema) =>
  schema && schema.$ref ? schema.$ref.slice(2).split("/").reduce((at, key) => at[key], doc) : schema || {};

const typeName = (doc, schema) => {
  const s = resolve(doc, schema);
  const types = [].concat(s.type || []).filter((t) => t !== "null");
  if (types.includes("array")) return typeName(doc, s.items) + "[]";
  if (s.enum) return s.enum.map((v) => JSON.stringify(v)).join(" | ");
  const named = schema && schema.$ref ? schema.$ref.split("/").pop() : "";
  const base = named || types.join(" | ") || "any";
  return s.format && !named ? base + " (" + s.format + ")" : base;
};

const limits = (s) =>
  [["pattern", "pattern "], ["minLength", "at least "], ["maxLength", "at most "], ["minimum", "≥ "], ["maximum", "≤ "], ["default", "default "]]
    .filter(([key]) => s[key] !== undefined)
    .map(([key, words]) => words + s[key] + (key.endsWith("Length") ? " characters" : ""))
    .join(", ");

const table = (title, rows) => {
  if (!rows.length) return "";
  const body = el("tbody", {}, ...rows.map((cells) => el("tr", {}, ...cells.map((c) => el("td", {}, c)))));
  const head = el("thead", {}, el("tr", {}, ...[title, "Type", "Meaning"].map((t) => el("th", {}, t))));
  return el("table", {}, head, body);
};

const row = (doc, name, schema, required, text) => {
  const s = resolve(doc, schema);
  const note = [text || s.description || "", limits(s)].filter(Boolean).join(" · ");
  return [el("code", {}, name + (required ? " *" : "")), el("code", {}, typeName(doc, schema)), note];
};

const properties = (doc, schema) => {
  let s = resolve(doc, schema);
  if ([].concat(s.type || []).includes("array")) s = resolve(doc, s.items);
  return Object.entries(s.properties || {}).map(([name, p]) => row(doc, name, p, (s.required || []).includes(name)));
};

const jsonOf = (content) => Object.values(content || {}).map((c) => c.schema)[0];

const answers = (doc, responses) =>
  Object.entries(responses || {})
    .filter(([status]) => status !== "default")
    .flatMap(([status, r]) => {
      const schema = jsonOf(r.content);
      const page = schema && resolve(doc, schema).properties;
      const rows = [table("Answer " + status, properties(doc, schema))];
      if (page && page.items && page.next) rows.push(table("Each item", properties(doc, page.items)));
      return rows;
    });

const operation = (doc, method, path, op) =>
  el("details", { id: op.operationId },
    el("summary", {}, el("span", { class: "method " + method }, method.toUpperCase()), el("code", {}, path), el("span", { class: "soft" }, op.summary || "")),
    el("div", {},
      table("Parameter", (op.parameters || []).map((p) => row(doc, p.name, p.schema, p.required, p.description))),
      table("Body", op.requestBody ? properties(doc, jsonOf(op.requestBody.content)) : []),
      ...answers(doc, op.responses)));

const show = (doc) => {
  document.getElementById("about").textContent = doc.info.description + " Version " + doc.info.version + ". * is required.";
  const groups = new Map((doc.tags || []).map((t) => [t.name, { about: t.description, operations: [] }]));
  for (const [path, methods] of Object.entries(doc.paths)) {
    for (const [method, op] of Object.entries(methods)) {
      const group = groups.get((op.tags || [])[0]);
      if (group) group.operations.push(operation(doc, method, path, op));
    }
  }
  const root = document.getElementById("operations");
  for (const [name, group] of groups) root.append(el("h2", {}, name), el("p", { class: "soft" }, group.about || ""), ...group.operations);
  root.append(el("h2", {}, "errors"), table("Problem", properties(doc, { $ref: "#/components/schemas/Problem" })));
};

fetch(document.getElementById("docs").dataset.document)
  .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error("HTTP " + answer.status))))
  .then(show)
  .catch((err) => { document.getElementById("about").textContent = "The document cannot be read: " + err.message; });
