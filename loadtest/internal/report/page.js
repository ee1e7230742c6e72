"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const grid = document.getElementById("charts");
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const colours = ["--a", "--b", "--c", "--d", "--e", "--f", "--g", "--h"];
  const plots = [];

  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  // digits writes a number to three digits, with its thousands apart.
  const digits = (v) => {
    if (v == null) return "–";
    const size = Math.abs(v);
    const places = size >= 100 || size === 0 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
    return v.toLocaleString("en", { maximumFractionDigits: places });
  };
  const short = (v) => (v >= 1e6 ? digits(v / 1e6) + "M" : v >= 1e4 ? digits(v / 1e3) + "k" : digits(v));
  const unit = (u, format = digits) => (_, v) => (v == null ? "–" : format(v) + (u && " " + u));
  const milliseconds = (v) => (v >= 1000 ? digits(v / 1000) + " s" : digits(v) + " ms");
  // nines is the percentile of x = 1/(1-q).
  const nines = (x) => digitsOf(100 * (1 - 1 / x), Math.max(0, Math.ceil(Math.log10(x) - 1e-9) - 2)) + " %";
  const digitsOf = (v, places) => (Math.floor(v * 10 ** places + 1e-6) / 10 ** places).toFixed(places);

  // over shades what lies behind the measuring, and marks the cut.
  const over = {
    hooks: {
      drawClear: (u) => {
        const { left, top, width, height } = u.bbox;
        const from = Math.max(left, u.valToPos(data.until, "x", true));
        u.ctx.save();
        u.ctx.fillStyle = css("--shade");
        if (from < left + width) u.ctx.fillRect(from, top, left + width - from, height);
        if (data.cut > 0) {
          const at = u.valToPos(data.cut, "x", true);
          u.ctx.strokeStyle = css("--bad");
          u.ctx.setLineDash([4, 4]);
          u.ctx.beginPath();
          u.ctx.moveTo(at, top);
          u.ctx.lineTo(at, top + height);
          u.ctx.stroke();
        }
        u.ctx.restore();
      },
    },
  };

  const width = (box) => box.clientWidth - parseFloat(getComputedStyle(box).paddingLeft) - parseFloat(getComputedStyle(box).paddingRight);

  // decades keeps the whole powers of ten of a logarithmic scale, and of many only some.
  const decade = (v) => v != null && Math.abs(Math.log10(v) - Math.round(Math.log10(v))) < 1e-9;
  const decades = (u, vs) => vs.map((v) => (decade(v) ? v : null));

  function axis(values, log, more = {}) {
    return {
      stroke: css("--soft"), font: "12px system-ui", size: 58, values: (_, vs) => vs.map((v) => (v == null ? "" : values(v))),
      grid: { stroke: css("--line"), width: 1, ...(log && { filter: decades }) }, ticks: { show: false },
      ...(log && { filter: decades }), ...more,
    };
  }

  // resting shows the newest values in the legend while nothing is pointed at.
  const resting = {
    hooks: {
      ready: (u) => u.setLegend({ idx: u.data[0].length - 1 }),
      setCursor: (u) => { if (u.cursor.idx == null) u.setLegend({ idx: u.data[0].length - 1 }); },
    },
  };

  function add(chart) {
    const box = document.createElement("div");
    box.className = "chart" + (chart.wide ? " wide" : "");
    box.innerHTML = "<h2></h2><p></p>";
    box.firstChild.textContent = chart.title;
    box.children[1].textContent = chart.note;
    grid.append(box);
    const overTime = chart.x !== "other";
    const options = {
      width: width(box), height: chart.wide ? 300 : 220,
      cursor: { sync: overTime ? { key: "time" } : undefined, points: { size: 6 }, drag: { x: true, y: false } },
      legend: { live: true },
      padding: [10, 26, 0, 0],
      scales: { x: { time: false, ...chart.scaleX }, y: { range: chart.log ? undefined : (_, low, high) => [0, Math.max(high * 1.08, chart.least || 1)], ...(chart.log ? { distr: 3, log: 10 } : {}) } },
      axes: [
        axis(chart.valuesX || ((v) => v + " s"), chart.scaleX, { size: 32, space: chart.scaleX ? 70 : 50 }),
        axis(chart.format, chart.log),
      ],
      series: [{ label: chart.labelX || "at", value: chart.valueX || unit("s") }].concat(
        chart.lines.map((l, i) => {
          const stroke = css(l.colour || colours[i % colours.length]);
          return {
            label: l.name, stroke, width: 2, value: (_, v) => (v == null ? "–" : (l.format || chart.format)(v)),
            fill: chart.fill && i === 0 ? stroke + "22" : undefined,
            dash: l.name === "max" ? [3, 4] : undefined, points: { show: chart.xs.length < 3 }, spanGaps: false,
          };
        })),
      plugins: overTime ? [over, resting] : [resting],
    };
    plots.push([box, new uPlot(options, [chart.xs, ...chart.lines.map((l) => l.y)], box)]);
  }

  // some: there is anything to draw.
  const some = (lines) => lines && lines.some((l) => l.y && l.y.some((v) => v != null && v !== 0));
  // positive: a logarithmic scale knows no zero.
  const positive = (lines) => lines.map((l) => ({ ...l, y: l.y.map((v) => (v == null ? null : Math.max(v, 0.001))) }));

  function draw() {
    for (const [, plot] of plots.splice(0)) plot.destroy();
    grid.replaceChildren();
    const time = data.time || [];
    if (some(data.latency)) add({ wide: true, title: "Delivery latency over time", note: "from when a message was to be sent to when a member had read it; logarithmic", xs: time, lines: positive(data.latency), log: true, format: milliseconds });
    if (data.back.lines) add({ wide: true, x: "other", title: "Back after a lost connection", note: "how long it took until that share of the clients was back, and had all they missed", xs: data.back.share, lines: data.back.lines, least: 0.1, format: (v) => digits(v) + " s", labelX: "clients", valueX: unit("%"), valuesX: (v) => v + " %" });
    if (some(data.percentiles)) add({ x: "other", title: "Percentiles", note: "each step to the right is another nine; both scales logarithmic", xs: data.quantile, lines: positive(data.percentiles), log: true, format: milliseconds, scaleX: { distr: 3, log: 10 }, labelX: "share", valueX: (_, v) => (v == null ? "–" : nines(v)), valuesX: nines });
    if (some(data.rates)) add({ title: "Rate", note: "messages a second; each is delivered to every member of its room", xs: time, lines: data.rates, fill: true, format: short });
    if (some(data.cpu)) add({ title: "Gateway processor time", note: "percent of one processor", xs: data.server_time, lines: data.cpu, least: 5, fill: true, format: (v) => digits(v) + " %" });
    if (some(data.memory)) add({ title: "Gateway memory", note: "resident, MiB", xs: data.server_time, lines: data.memory, fill: true, format: (v) => digits(v) + " MiB" });
    if (some(data.connections)) add({ title: "Connections", note: "open, and opened a second", xs: time, lines: data.connections, fill: true, format: short });
    if (some(data.late)) add({ title: "The generator itself", note: "how late it sent at most, in ms, and its processor time in percent: what it lacks is not the gateway's", xs: time, lines: data.late, format: digits });
    const boxes = [...grid.children];
    if (boxes.filter((b) => !b.classList.contains("wide")).length % 2) {
      boxes.at(-1).classList.add("wide");
      resize();
    }
  }

  function resize() {
    for (const [box, plot] of plots) plot.setSize({ width: width(box), height: plot.height });
  }

  function scheme(dark) {
    root.dataset.scheme = dark ? "dark" : "light";
    draw();
  }
  document.getElementById("scheme").addEventListener("click", () => scheme(root.dataset.scheme !== "dark"));
  prefersDark.addEventListener("change", () => scheme(prefersDark.matches));
  addEventListener("resize", resize);
  scheme(prefersDark.matches);
})();
