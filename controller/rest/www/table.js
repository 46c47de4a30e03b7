// A table of many rows, a page of them at a time: rows are made once, and only what is another text is set again.

import { headCell, make, setAttribute, setText } from "./dom.js";
import { count } from "./words.js";

const PAGE = 50;

/**
 * `columns`: {name, show(cell, item)}; the first one's cell is the row's header. `open(item)`: {node, update(item)},
 * what stands below a row that was opened; null: rows are not opened. Items have an `id`. `refuge`: where the focus goes
 * when the last row goes that had it.
 */
export class PagedTable {
  constructor(table, pager, { columns, open = null, title = null, empty, onChange, refuge }) {
    this.#table = table;
    this.#columns = columns;
    this.#open = open;
    this.#title = title;
    this.#empty = empty;
    this.#onChange = onChange;
    this.#refuge = refuge;
    this.#body = make("tbody", { role: "rowgroup" });
    const head = make("tr", { role: "row" }, ...columns.map(({ name }) => headCell(name)));
    table.append(make("thead", { role: "rowgroup" }, head), this.#body);
    this.#before = this.#button("Previous", -1);
    this.#after = this.#button("Next", 1);
    this.#where = make("span", {});
    pager.append(this.#before, this.#where, this.#after);
    this.#pager = pager;
  }

  #table;
  #columns;
  #open;
  #title;
  #empty;
  #onChange;
  #refuge;
  #body;
  #pager;
  #before;
  #after;
  #where;
  #page = 0;
  #pages = 1;
  #rows = new Map(); // by id: {element, cells, opened: null or {element, view}}
  #shown = []; // the ids, in order
  #nothing = null;

  #button(text, step) {
    const button = make("button", { type: "button" }, text);
    button.addEventListener("click", () => this.#turn(step));
    return button;
  }

  #turn(step) {
    const page = Math.min(Math.max(this.#page + step, 0), this.#pages - 1);
    if (page === this.#page) return;
    this.#page = page;
    this.#onChange();
    this.#table.scrollIntoView({ block: "start" });
  }

  /** Back to the first page: another filter or order. */
  rewind() {
    this.#page = 0;
  }

  /** Shows a page of these items. */
  render(items) {
    this.#pages = Math.max(Math.ceil(items.length / PAGE), 1);
    this.#page = Math.min(this.#page, this.#pages - 1);
    const start = this.#page * PAGE;
    const page = items.slice(start, start + PAGE);
    this.#drop(new Set(page.map(({ id }) => id)));
    this.#place(page);
    this.#say(start, page.length, items.length);
  }

  /** Takes away what is not to be seen any more. Who stood there is led to what stands there now. */
  #drop(wanted) {
    let lost = -1;
    this.#shown.forEach((id, at) => {
      if (wanted.has(id)) return;
      const row = this.#rows.get(id);
      if (row.element.contains(document.activeElement) || row.opened?.element.contains(document.activeElement)) lost = at;
      row.opened?.element.remove();
      row.element.remove();
      this.#rows.delete(id);
    });
    if (lost < 0) return;
    const left = this.#shown.filter((id) => wanted.has(id));
    const next = this.#rows.get(left[Math.min(lost, left.length - 1)]);
    (next?.element.querySelector("button") ?? this.#refuge).focus({ preventScroll: true });
  }

  #place(page) {
    let at = this.#body.firstChild;
    const put = (element) => {
      if (element === at) at = at.nextSibling;
      else this.#body.insertBefore(element, at);
    };
    const focused = document.activeElement;
    for (const item of page) {
      const row = this.#rows.get(item.id) ?? this.#make(item);
      this.#columns.forEach((column, number) => column.show(row.cells[number], item));
      put(row.element);
      if (row.opened !== null) {
        put(row.opened.element);
        row.opened.view.update(item);
      }
    }
    if (focused !== document.activeElement && this.#body.contains(focused)) focused.focus({ preventScroll: true });
    this.#shown = page.map(({ id }) => id);
  }

  #make(item) {
    const cells = this.#columns.map(({ name }, number) =>
      number === 0 ? make("th", { role: "rowheader", scope: "row" }) : make("td", { role: "cell", "data-label": name }),
    );
    const row = { element: make("tr", { role: "row" }, ...cells), cells, opened: null, item };
    if (this.#open !== null) {
      const button = make("button", { type: "button", class: "open", "aria-expanded": "false" }, this.#title(item));
      button.addEventListener("click", () => this.#toggle(item.id, button));
      cells[0].append(button);
    }
    this.#rows.set(item.id, row);
    return row;
  }

  #toggle(id, button) {
    const row = this.#rows.get(id);
    if (row.opened !== null) {
      row.opened.element.remove();
      row.opened = null;
    } else {
      const view = this.#open(id);
      const cell = make("td", { role: "cell", colspan: String(this.#columns.length) }, view.node);
      row.opened = { element: make("tr", { role: "row", class: "details" }, cell), view };
    }
    setAttribute(button, "aria-expanded", String(row.opened !== null));
    this.#onChange();
  }

  #say(start, shown, all) {
    setAttribute(this.#before, "aria-disabled", String(this.#page === 0));
    setAttribute(this.#after, "aria-disabled", String(this.#page === this.#pages - 1));
    setText(this.#where, all === 0 ? this.#empty() : `${start + 1} to ${start + shown} of ${count(all, "row")}`);
    this.#table.hidden = all === 0;
    this.#before.hidden = this.#after.hidden = this.#pages === 1;
    this.#pager.hidden = false;
  }
}
