// The little that is needed to change a page without building it anew: an
// element that stays keeps its focus, its selection and its place.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

// el("td", {class: "n"}, "text", child)
export function el(name, attrs = {}, ...children) {
  return fill(document.createElement(name), attrs, children);
}

export function svg(name, attrs = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attrs, children);
}

function fill(e, attrs, children) {
  for (const [k, v] of Object.entries(attrs)) if (v != null) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

// text sets an element's text, if it is another one.
export function text(e, s) {
  if (e.textContent !== s) e.textContent = s;
}

// attr sets an attribute, or takes it away for null.
export function attr(e, name, v) {
  if (v == null) e.removeAttribute(name);
  else if (e.getAttribute(name) !== String(v)) e.setAttribute(name, v);
}

// list makes parent's children those of items, in their order. make builds one
// from an item, update changes it.
export function list(parent, items, key, make, update) {
  const have = parent.have ?? (parent.have = new Map());
  const seen = new Set();
  let at = parent.firstElementChild;
  for (const item of items) {
    const k = key(item);
    seen.add(k);
    let e = have.get(k);
    if (!e) {
      e = make(item);
      have.set(k, e);
    }
    if (e === at) at = at.nextElementSibling;
    else parent.insertBefore(e, at);
    update?.(e, item);
  }
  for (const [k, e] of have) {
    if (seen.has(k)) continue;
    e.remove();
    have.delete(k);
  }
}

// rows fills a table's body. cells gives the texts of a row: a string, or
// {text, tone, title}. numbers are the columns that hold numbers.
export function rows(table, items, key, cells, numbers, empty) {
  const body = table.tBodies[0];
  const width = table.tHead.rows[0].cells.length;
  const all = items.length ? items : [null];
  list(body, all, (i) => (i === null ? "" : key(i)), (i) => {
    const tr = el("tr");
    if (i === null) tr.append(el("td", {class: "empty", colspan: width}, empty));
    else cells(i).forEach((_, n) => tr.append(el(n ? "td" : "th", {class: numbers.includes(n) ? "n" : null, scope: n ? null : "row"})));
    return tr;
  }, (tr, i) => {
    if (i === null) return;
    cells(i).forEach((c, n) => {
      const cell = typeof c === "object" ? c : {text: c};
      text(tr.cells[n], cell.text);
      attr(tr.cells[n], "data-tone", cell.tone);
      attr(tr.cells[n], "title", cell.title);
    });
  });
}
