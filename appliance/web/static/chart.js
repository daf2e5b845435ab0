// The zoomable chart of sizes: drawn from the table below it, which is there without this file.
const place = document.getElementById("chart");
const rows = [...document.querySelectorAll("#sizes tbody tr")];
if (place && rows.length && window.uPlot) {
  const number = (row, name) => Number(row.dataset[name]);
  const data = [
    rows.map((row) => number(row, "at")),
    rows.map((row) => number(row, "a")),
    rows.map((row) => number(row, "b")),
  ];
  const units = place.dataset.lang === "fr" ? ["o", "ko", "Mo", "Go", "To"] : ["B", "kB", "MB", "GB", "TB"];
  const size = (value) => {
    if (value == null) return "";
    let unit = 0;
    while (value >= 999.5 && unit < units.length - 1) { value /= 1000; unit += 1; }
    return `${value.toLocaleString(place.dataset.lang, { maximumFractionDigits: value < 10 ? 1 : 0 })} ${units[unit]}`;
  };
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
  // light-dark() is resolved by the browser when it is used as a colour.
  const resolve = (name) => {
    const probe = document.createElement("i");
    probe.style.color = colour(name);
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };
  const zone = place.dataset.zone; // the practice's, as everywhere on the page
  const span = data[0].at(-1) - data[0][0];
  const grain = span < 3 * 86400 ? { day: "numeric", hour: "2-digit", minute: "2-digit" } : { day: "numeric", month: "short" };
  const draw = () => {
    place.replaceChildren();
    const ink = resolve("--soft"), line = resolve("--line"), accent = resolve("--accent"), warn = resolve("--warn");
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line } };
    const added = [...data[2]].sort((x, y) => x - y);
    const usual = added[added.length - 2] ?? added[0];
    const ceiling = added.at(-1) > 5 * usual ? usual : added.at(-1);
    const options = {
      width: place.clientWidth, height: 260,
      tzDate: (at) => window.uPlot.tzDate(new Date(at * 1000), zone),
      cursor: { drag: { x: true, y: false } },
      // The first night adds everything; the others would be flat beside it.
      scales: { b: { range: () => [0, ceiling * 1.15 || 1] }, a: { range: (_, __, max) => [0, max * 1.1 || 1] } },
      axes: [
        { ...axis, values: (_, ticks) => ticks.map((at) => new Date(at * 1000).toLocaleString(place.dataset.lang, { ...grain, timeZone: zone })), space: 80 },
        { ...axis, scale: "a", size: 74, values: (_, ticks) => ticks.map(size) },
        { ...axis, scale: "b", side: 1, size: 74, grid: { show: false }, values: (_, ticks) => ticks.map(size) },
      ],
      series: [
        { value: (_, at) => at == null ? "" : new Date(at * 1000).toLocaleString(place.dataset.lang, { dateStyle: "short", timeStyle: "short", timeZone: zone }), label: place.dataset.titleTime },
        { label: place.dataset.titleA, scale: "a", stroke: accent, width: 2, value: (_, v) => size(v) },
        { label: place.dataset.titleB, scale: "b", stroke: warn, fill: warn.replace("rgb(", "rgba(").replace(")", ", .25)"), width: 1.5, value: (_, v) => size(v), paths: window.uPlot.paths.bars({ size: [0.5, 24] }) },
      ],
    };
    new window.uPlot(options, data, place);
  };
  draw();
  let wait;
  addEventListener("resize", () => { clearTimeout(wait); wait = setTimeout(draw, 150); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}
