"use strict";
const announcement = document.getElementById("announcement");

function compare(a, b, numeric) {
  if (!numeric) return a.localeCompare(b, undefined, { numeric: true });
  const [x, y] = [Number.parseFloat(a), Number.parseFloat(b)];
  if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
  return x - y;
}

function sortBy(table, heading) {
  const column = heading.cellIndex;
  const numeric = heading.classList.contains("number");
  const falling = heading.getAttribute("aria-sort") === "ascending";
  const key = (row) => row.cells[column].dataset.key;
  const missing = (row) => numeric && Number.isNaN(Number.parseFloat(key(row)));
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    // Cells without a number stay last in both directions.
    if (missing(a) || missing(b)) return missing(a) - missing(b);
    return compare(key(a), key(b), numeric) * (falling ? -1 : 1);
  });
  table.tBodies[0].append(...rows);
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
  announcement.textContent = `Sorted by ${heading.textContent}, ${falling ? "falling" : "rising"}`;
}

// The same as tables/NAME.csv beside the report: see table_csv.py.
function guarded(text) {
  // A spreadsheet would run a cell that starts like a formula.
  return /^[=+\-@\t\r\n＝＋－＠]/.test(text) && !/^[+-]?\d+(\.\d+)?$/.test(text) ? `'${text}` : text;
}

function quoted(text) {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const behind = (cell) => new Map((cell.dataset.behind ?? "").split(";").filter(Boolean).map((part) => part.split(":")));
const detail = (cell) => (cell.dataset.behind ? "" : cell.querySelector(".interval")?.textContent ?? "");

function field(cell) {
  const { key } = cell.dataset;
  if (key === "n/a" && cell.title) return "";
  return cell.dataset.number === undefined ? guarded(key) : key;
}

function asCsv(table) {
  const labels = [...table.tHead.rows[0].cells].map((heading) => heading.textContent);
  const rows = [...table.tBodies[0].rows].map((row) => [...row.cells]);
  const words = labels.map((_, place) => {
    const cells = rows.map((row) => row[place]);
    const found = new Set(cells.flatMap((cell) => [...behind(cell).keys()]));
    return cells.some(detail) ? [...found, "detail"] : [...found];
  });
  const noted = rows.some((row) => row.some((cell) => cell.title));
  const heading = labels.flatMap((label, place) => [label, ...words[place].map((word) => `${label} ${word}`)]);
  const lines = rows.map((row) => {
    const fields = row.flatMap((cell, place) => {
      const numbers = behind(cell);
      return [field(cell), ...words[place].map((word) => numbers.get(word) ?? (word === "detail" ? guarded(detail(cell)) : ""))];
    });
    const notes = row.map((cell, place) => (cell.title ? `${labels[place]}: ${cell.title}` : "")).filter(Boolean);
    return noted ? [...fields, guarded(notes.join("; "))] : fields;
  });
  const first = noted ? [...heading.map(guarded), "notes"] : heading.map(guarded);
  return [first, ...lines].map((line) => `${line.map(quoted).join(",")}\n`).join("");
}

function addCopyButton(figure, label, content) {
  if (!navigator.clipboard) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = label;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(content());
      announcement.textContent = button.textContent = "Copied";
    } catch {
      announcement.textContent = button.textContent = "The browser does not allow copying";
    }
  });
  figure.append(button);
}

for (const table of document.querySelectorAll("table")) {
  if (table.tBodies[0].rows.length > 1) {
    for (const heading of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      button.addEventListener("click", () => sortBy(table, heading));
      heading.append(button);
    }
  }
  addCopyButton(table.closest("figure"), "Copy as CSV", () => asCsv(table));
}
for (const excerpt of document.querySelectorAll(".excerpt")) {
  const parts = [...excerpt.children];
  addCopyButton(excerpt, "Copy the text", () => parts.map((part) => part.textContent).join("\n\n"));
}

// Only what scrolls needs to be reached with the keyboard.
const sizes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
for (const part of document.querySelectorAll(".scroll")) sizes.observe(part);

// On a wide screen the banner stays in view; what a link leads to must not end up under it.
const banner = document.querySelector(".banner");
if (banner) {
  new ResizeObserver(() => {
    document.documentElement.style.setProperty("--banner", `${banner.offsetHeight}px`);
  }).observe(banner);
}

addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});
