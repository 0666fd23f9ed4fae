// A box at the head of a table that ticks all of its rows.

for (const all of document.querySelectorAll("input[data-select-all]")) {
  const boxes = all.closest("table").querySelectorAll("tbody input[type=checkbox]");
  all.hidden = false;
  all.closest("th").querySelector("[data-plain-head]").hidden = true;
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
  });
}
