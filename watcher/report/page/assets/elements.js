// Everything that is shown is made of text nodes: nothing a program said is ever read as markup.
const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

// Out of the page. Whoever made the page has seen to it that the address is an https one.
const out = (address, text) => h("a", { href: address, rel: "noopener noreferrer" }, text || address);

const seconds = (value) => (Math.abs(value) < 9.95 ? value.toFixed(1) : value.toFixed(0)).replace(/^-(0\.0)$/, "$1");
const exact = (value) => `${value.toFixed(3)} s`;

const data = JSON.parse(document.getElementById("data").textContent);
