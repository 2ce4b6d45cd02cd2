"use strict";
// Sorts and filters the roster and opens a coin. All text goes in as text, never as markup.
(() => {
  const byId = (id) => document.getElementById(id);
  const table = byId("roster-table");
  if (!table) return;
  const { asked, coins } = JSON.parse(byId("coins").textContent);
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const visible = () => Array.from(body.rows).filter((row) => !row.hidden);

  // Sorting: missing values stay last, equal ones keep the rank.
  const numeric = (cell) => cell.dataset.v === "" ? null : Number(cell.dataset.v);
  const sortBy = (column, descending) => {
    const key = (row) => column === 1 ? row.cells[1].dataset.v : numeric(row.cells[column]);
    const sorted = rows.slice().sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === null || y === null) return (x === null) - (y === null) || a.dataset.i - b.dataset.i;
      const order = x < y ? -1 : x > y ? 1 : 0;
      return (descending ? -order : order) || a.dataset.i - b.dataset.i;
    });
    body.append(...sorted);
  };
  const heads = Array.from(table.tHead.rows[0].cells);
  const smallFirst = new Set([0, 1, 2, 8, 10, 11, 12, 13]);
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const descending = now ? now === "ascending" : !smallFirst.has(column);
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sortBy(column, descending);
    });
  });

  // Filtering.
  const filter = byId("filter");
  const onlyOk = byId("only-ok");
  const apply = () => {
    const wanted = filter.value.trim().toUpperCase();
    rows.forEach((row) => {
      const coin = coins[row.dataset.i];
      const missed = coin.gates.filter((gate) => !gate[2]).map((gate) => asked[gate[0]][0]);
      const text = [coin.symbol, ...missed].join(" ").toUpperCase();
      row.hidden = (onlyOk.checked && !coin.ok) || !text.includes(wanted);
    });
    byId("shown").textContent = visible().length + " of " + rows.length + " coins";
  };
  filter.addEventListener("input", apply);
  onlyOk.addEventListener("change", apply);
  document.querySelector(".controls").hidden = false;
  apply();

  // One coin.
  const dialog = byId("coin");
  const percent = (value, digits) =>
    (value < 0 ? "\u2212" : "") + Math.abs(value).toFixed(digits) + " %";
  const day = (ms) => new Date(ms).toLocaleDateString("en-GB",
    { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
  const mark = (kind, d) => {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("class", kind);
    path.setAttribute("d", d);
    return path;
  };
  const spans = (texts) => texts.map((text) => {
    const span = document.createElement("span");
    span.textContent = text;
    return span;
  });
  const draw = (coin) => {
    const known = coin.pct.filter((value) => value !== null);
    const plot = byId("coin-plot");
    const labels = byId("coin-ylabels");
    plot.replaceChildren();
    labels.replaceChildren();
    byId("coin-xlabels").replaceChildren();
    if (known.length < 2) {
      byId("coin-legend").replaceChildren(...spans(["No out-of-sample curve for this coin."]));
      return;
    }
    let low = Math.min(0, ...known);
    let high = Math.max(0, ...known);
    const air = Math.max((high - low) * 0.05, 1e-6);
    low -= low < 0 ? air : 0;
    high += air;
    const y = (value) => (1000 * (high - value) / (high - low)).toFixed(1);
    const rough = (high - low) / 4;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= rough);
    const digits = Math.max(0, Math.ceil(-Math.log10(step)));
    for (let k = Math.ceil(low / step); k <= Math.floor(high / step); k += 1) {
      plot.append(mark(k === 0 ? "zero" : "grid", "M0 " + y(k * step) + "H1000"));
      const [span] = spans([percent(k * step, digits)]);
      span.style.top = y(k * step) / 10 + "%";
      labels.append(span);
    }
    let d = "";
    let down = false;
    coin.pct.forEach((value, i) => {
      if (value === null) { down = false; return; }
      d += (down ? "L" : "M") + (1000 * i / (coin.pct.length - 1)).toFixed(1) + " " + y(value);
      down = true;
    });
    plot.append(mark("line net", d));
    byId("coin-legend").replaceChildren(...spans([
      "cumulative net, out of sample: " + percent(known[known.length - 1], 1)]));
    byId("coin-xlabels").replaceChildren(...spans([
      day(coin.first_ms), day((coin.first_ms + coin.last_ms) / 2), day(coin.last_ms)]));
  };
  let open = null;
  const show = (row) => {
    open = row;
    const coin = coins[row.dataset.i];
    byId("coin-name").textContent = coin.symbol;
    const verdict = byId("coin-verdict");
    verdict.textContent = coin.ok ? "trade_ok" : "not ok";
    verdict.classList.toggle("good", coin.ok);
    draw(coin);
    byId("coin-gates").replaceChildren(...coin.gates.map(([place, value, passed]) => {
      const [gate, limit] = asked[place];
      const line = document.createElement("tr");
      [[gate, ""], [value, "n"], [limit, "n"],
        [passed ? "passed" : "missed", passed ? "gate-pass" : "gate-fail"]].forEach(([text, kind]) => {
        const cell = line.insertCell();
        cell.textContent = text;
        cell.className = kind;
      });
      return line;
    }));
    if (!dialog.open) dialog.showModal();
    history.replaceState(null, "", "#coin=" + encodeURIComponent(coin.symbol));
  };
  const move = (by) => {
    const list = visible();
    const next = list[list.indexOf(open) + by];
    if (next) show(next);
  };
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row) show(row);
  });
  byId("coin-previous").addEventListener("click", () => move(-1));
  byId("coin-next").addEventListener("click", () => move(1));
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") move(-1);
    if (event.key === "ArrowRight") move(1);
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => history.replaceState(null, "", "#roster"));
  const fromAddress = () => {
    if (!location.hash.startsWith("#coin=")) return;
    let wanted = "";
    try { wanted = decodeURIComponent(location.hash.slice(6)); } catch { return; }
    const row = rows.find((candidate) => coins[candidate.dataset.i].symbol === wanted);
    if (row) show(row);
  };
  window.addEventListener("hashchange", fromAddress);
  fromAddress();
})();
