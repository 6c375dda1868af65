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

function quoted(text) {
  // A spreadsheet would run a cell that starts like a formula.
  const safe = /^[=+@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function asCsv(table) {
  return [...table.rows]
    .map((row) => [...row.cells].map((cell) => quoted(cell.dataset.key ?? cell.textContent)).join(","))
    .join("\n");
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
  if (navigator.clipboard) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy as CSV";
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(asCsv(table));
        announcement.textContent = button.textContent = "Copied";
      } catch {
        announcement.textContent = button.textContent = "The browser does not allow copying";
      }
    });
    table.closest("figure").append(button);
  }
}

// Only what scrolls needs to be reached with the keyboard.
const sizes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
for (const part of document.querySelectorAll(".scroll")) sizes.observe(part);

addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});
