"use strict";
// Draws the charts in the reader's colours, keeps one run in focus, sorts the table. Nothing here asks the network.
(() => {
  const source = document.getElementById("figures");
  const figures = source ? JSON.parse(source.textContent) : {};
  const select = document.getElementById("run");
  const plots = [...document.querySelectorAll("[data-figure]")];
  const touch = matchMedia("(hover: none)").matches; // there, a drag scrolls the page
  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: touch ? false : "hover",
    // A list of what is wanted: by default plotly has a button that sends the chart to its makers' server.
    modeBarButtons: [["toImage", "resetScale2d"]],
    showSendToCloud: false,
    plotlyServerURL: "",
  };

  // The library of the charts comes packed: half the size of the page, and nothing of it needs the network.
  const loadLibrary = async () => {
    const packed = atob(document.getElementById("charts-library").textContent);
    const bytes = Uint8Array.from(packed, (character) => character.charCodeAt(0));
    const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const script = document.createElement("script");
    script.textContent = await new Response(plain).text();
    document.head.append(script);
  };

  // "var(--ink)" becomes the colour that stands for it in the scheme of the moment.
  const inColour = (value, style) => {
    if (typeof value === "string") {
      return value.startsWith("var(--") ? style.getPropertyValue(value.slice(4, -1)).trim() : value;
    }
    if (Array.isArray(value)) return value.map((item) => inColour(item, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, inColour(item, style)]));
    }
    return value;
  };

  // The run in focus comes last, so that its line lies on top.
  const inFocus = (traces, run) => {
    const others = traces.filter((trace) => !trace.meta || (trace.meta.run !== run && !trace.meta.solo));
    const chosen = traces.filter((trace) => trace.meta && trace.meta.run === run);
    const thick = (trace) => ({ ...trace, line: { ...trace.line, width: 2.25, color: "var(--accent)" } });
    return [...others, ...chosen.map(thick)];
  };

  const draw = () => {
    const run = select ? select.value : "";
    const style = getComputedStyle(document.documentElement);
    for (const plot of plots) {
      const figure = figures[plot.dataset.figure];
      const layout = { ...inColour(figure.layout, style), dragmode: touch ? false : "zoom" };
      Plotly.react(plot, inColour(inFocus(figure.data, run), style), layout, config);
    }
    for (const label of document.querySelectorAll(".in-focus")) label.textContent = run;
    for (const row of document.querySelectorAll("#runs-table tbody tr")) {
      row.classList.toggle("focused", row.dataset.run === run);
    }
  };

  const focusOn = (run) => {
    if (!select || ![...select.options].some((option) => option.value === run)) return;
    select.value = run;
    draw();
  };

  const sortBy = (button) => {
    const heading = button.closest("th");
    const column = heading.cellIndex;
    const numeric = button.dataset.sort === "number";
    const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const body = button.closest("table").tBodies[0];
    const key = (row) => (numeric ? row.cells[column].dataset.value : row.cells[column].textContent);
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === "" || y === "") return (x === "") - (y === ""); // what is undefined stays at the end
      return sign * (numeric ? x - y : x.localeCompare(y, "en", { numeric: true }));
    });
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
    body.append(...rows);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.sort) sortBy(button);
    if (button.dataset.focus) focusOn(button.dataset.focus);
  });
  const begin = async () => {
    if (!plots.length) return;
    try {
      await loadLibrary();
    } catch {
      for (const plot of plots) plot.textContent = "The charts need a browser of 2023 or later; the tables do not.";
      return;
    }
    draw();
    if (select) select.addEventListener("change", draw);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    for (const plot of plots) {
      plot.on("plotly_click", (event) => {
        const { data, x } = event.points[0];
        focusOn(data.meta ? data.meta.run : x);
      });
    }
  };
  begin().then(() => {
    document.documentElement.dataset.ready = "yes";
    document.dispatchEvent(new Event("ready"));
  });
})();
