"use strict";
const page = JSON.parse(document.getElementById("data").textContent);
const element = (name, text, kind) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
};
const number = (text) => (text === null || text === "" ? null : Number(text));
const exact = /^-?\d+(\.\d+)?$/;

for (const [label, value] of page.figures) {
  const pair = element("div");
  pair.append(element("dt", label), element("dd", value === null ? "–" : value));
  document.querySelector("dl").append(pair);
}

const colours = ["#2563eb", "#d97706", "#16a34a", "#9333ea"];
for (const chart of page.charts) {
  const place = element("div", undefined, "chart");
  document.getElementById("charts").append(place);
  const times = chart.times !== null;
  const x = times ? chart.times.map(Number) : chart.names.map((_, index) => index);
  const series = chart.series.map((line, index) => ({
    label: line.label,
    stroke: colours[index % colours.length],
    fill: times ? undefined : colours[index % colours.length] + "66",
    paths: times ? undefined : uPlot.paths.bars({ size: [0.7, 60] }),
    points: { show: !times ? false : undefined },
    width: 1.5,
  }));
  const label = times ? {} : { label: "", value: (_, at) => (at === null ? "–" : chart.names[at]) };
  new uPlot({
    title: chart.title,
    width: Math.min(document.body.clientWidth, 1180),
    height: 320,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC"),
    scales: { x: { time: times, range: times ? undefined : [-0.5, x.length - 0.5] } },
    series: [label, ...series],
    axes: [
      { stroke: "#888", grid: { stroke: "#8882" }, ...(times ? {} : {
        splits: () => x, values: (_, marks) => marks.map((at) => chart.names[at] ?? ""), rotate: -30, size: 70,
      }) },
      { stroke: "#888", grid: { stroke: "#8882" }, size: 80 },
    ],
  }, [x, ...chart.series.map((line) => line.values.map(number))], place);
}

const table = document.getElementById("rows");
const draw = (rows) => {
  table.tBodies[0].replaceChildren(...rows.map((row) => {
    const line = element("tr", undefined, row === page.total ? "total" : "");
    row.forEach((value, at) => {
      const kind = page.text[at] ? "text" : page.signed[at] && Number(value) < 0 ? "minus"
        : page.signed[at] && Number(value) > 0 ? "plus" : "";
      line.append(element("td", value === null ? "–" : value, kind));
    });
    return line;
  }));
};
const all = (rows) => (page.total === null ? rows : [...rows, page.total]);
page.columns.forEach((name, at) => {
  const head = element("th", name, page.text[at] ? "text" : "");
  let up = false;
  head.addEventListener("click", () => {
    up = !up;
    const order = (one, other) => {
      const [a, b] = [one[at] ?? "", other[at] ?? ""];
      const less = exact.test(a) && exact.test(b) ? Number(a) - Number(b) : a < b ? -1 : a > b ? 1 : 0;
      return up ? less : -less;
    };
    draw(all([...page.rows].sort(order)));
  });
  table.tHead.rows[0].append(head);
});
draw(all(page.rows));
document.documentElement.dataset.ready = String(page.rows.length);
