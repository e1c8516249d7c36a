// A click on a column's head sorts the lines of each block of its table: numbers by value (blanks last), words by the alphabet.
for (const button of document.querySelectorAll("table.grid thead button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement, row = head.parentElement;
    const place = [...row.children].indexOf(head);
    const sign = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
    for (const other of row.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
    const key = (line) => {
      const cell = line.children[place];
      if (cell.dataset.value !== undefined) return parseFloat(cell.dataset.value);
      return cell.classList.contains("stub") ? cell.textContent : NaN;
    };
    const order = (a, b) => {
      const x = key(a), y = key(b);
      if (typeof x === "string" || typeof y === "string") return -sign * String(x).localeCompare(String(y), "en", { numeric: true });
      if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
      return sign * (x - y);
    };
    for (const body of head.closest("table").tBodies) {
      body.append(...[...body.rows].filter((line) => line.className !== "title").sort(order));
    }
  });
}
