// Elements from values. Whatever comes from the controller becomes text here, or the value of an attribute that is none
// of a script's: there is no way from a string to markup.

const ATTRIBUTES = /^(?:aria-[a-z]+|data-[a-z]+|role|scope|colspan|id|for|type|list|tabindex|title|value)$/;

/** An element with these attributes and children (texts, elements, or nothing). */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") element.className = value;
    else if (ATTRIBUTES.test(name)) element.setAttribute(name, value);
    else throw new Error(`no attribute that is set here: ${name}`);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A link, where the text is an address of the web; else the text. It opens beside the page, which tells it nothing. */
export function linked(address, text = address) {
  let url = null;
  try {
    url = new URL(address);
  } catch {
    // no address at all
  }
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) return document.createTextNode(text);
  const link = make("a", {}, text);
  link.href = url.href;
  link.target = "_blank";
  link.rel = "noopener noreferrer";
  return link;
}

/** Sets the text, if it is another one. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setClass(node, name) {
  if (node.className !== name) node.className = name;
}

export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

const contents = new WeakMap();

/** Has `fill()` make the node's children anew, if what they show (any JSON) is not what it was. */
export function setContent(node, shown, fill) {
  const content = JSON.stringify(shown);
  if (contents.get(node) === content) return;
  contents.set(node, content);
  node.replaceChildren(...[fill()].flat().filter((child) => child !== null));
}

export function list(texts, tag = "ul") {
  return make(tag, {}, ...texts.map((text) => make("li", {}, text)));
}

/** A small table: `rows` of cells, each a text or an element. The roles stay where the style makes blocks of it. */
export function grid(name, head, rows) {
  return make(
    "table",
    { role: "table", "aria-label": name },
    make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...head.map((text) => headCell(text)))),
    make(
      "tbody",
      { role: "rowgroup" },
      ...rows.map((cells) =>
        make("tr", { role: "row" }, ...cells.map((cell, at) => make("td", { role: "cell", "data-label": head[at] }, cell))),
      ),
    ),
  );
}

export function headCell(text) {
  return make("th", { role: "columnheader", scope: "col" }, text);
}
