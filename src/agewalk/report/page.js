"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const by = id => document.getElementById(id);
const COLUMNS = [
  ["refaults", "refaults", whole, -1], ["evictions", "evictions", whole, -1], ["hot_evictions", "hot evicted", whole, -1],
  ["cold_recall", "cold found", share, 1], ["cold_precision", "cold right", share, 1], ["age_rank_correlation", "age order", ratio, 1],
  ["ptes_walked", "PTEs walked", whole, 0], ["notifier_calls", "notifier calls", whole, 0],
  ["mmu_lock_write_ns", "mmu_lock", time, -1], ["vcpu_stall_ns", "vCPU stall", time, -1],
];
function whole(n) { return n == null ? "–" : n.toLocaleString("en-US"); }
function short(n) { return n >= 1e6 ? +(n / 1e6).toPrecision(3) + " M" : whole(n); }
function share(n) { return n == null ? "–" : (100 * n).toFixed(1) + " %"; }
function ratio(n) { return n == null ? "–" : (n < 0 ? "−" : "+") + Math.abs(n).toFixed(2); }
function time(ns) {
  if (ns == null) return "–";
  if (ns === 0) return "0";
  for (const [unit, scale] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]]) if (ns >= scale) return (ns / scale).toFixed(ns >= 100 * scale ? 0 : 1) + " " + unit;
  return ns + " ns";
}
function size(bytes) {
  for (const [unit, scale] of [["TiB", 2 ** 40], ["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]])
    if (bytes >= scale) return String(Math.round(100 * bytes / scale) / 100) + " " + unit;
  return bytes + " B";
}
function seconds(ns) { const s = ns / 1e9; return s >= 600 ? Math.round(s / 60) + " min" : (s >= 20 || s === Math.round(s) ? Math.round(s) : s.toFixed(1)) + " s"; }
/* The page's Content-Security-Policy forbids style attributes; a script may set styles one by one. */
function dressed(node, text, attributes) {
  if (text != null) node.textContent = text;
  for (const [name, value] of Object.entries(attributes || {})) if (name === "style") node.style.cssText = value; else node.setAttribute(name, value);
  return node;
}
function make(tag, text, attributes) { return dressed(document.createElement(tag), text, attributes); }
function svg(tag, attributes, text) { return dressed(document.createElementNS("http://www.w3.org/2000/svg", tag), text, attributes); }
const tip = by("tip");
function showTip(event, text) {
  tip.textContent = text; tip.hidden = false;
  tip.style.left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8) + "px";
  tip.style.top = Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8) + "px";
}
function hideTip() { tip.hidden = true; }

const memories = [...new Set(data.results.map(r => r.memory_bytes))].sort((a, b) => a - b);
const policies = [...new Set(data.results.map(r => r.policy))];
/* The page opens on the host's own memory, or on the size that was run next to it. */
const host = data.host == null ? memories[0] : data.host;
let memory = memories.reduce((a, b) => Math.abs(b - host) < Math.abs(a - host) ? b : a);
const rowsOf = m => data.results.filter(r => r.memory_bytes === m);

/* Policies that did the same in everything that is drawn share a colour and one line. */
const groups = [];
for (const policy of policies) {
  const key = JSON.stringify([
    memories.map(m => (rowsOf(m).find(r => r.policy === policy) || {}).refaults),
    data.lines.filter(l => l.policy === policy).map(l => l.sum),
  ]);
  const known = groups.find(g => g.key === key);
  if (known) known.policies.push(policy); else groups.push({ key, policies: [policy] });
}
groups.forEach((g, i) => { g.colour = `var(--c${i % 8})`; g.name = g.policies.length > 2 ? `${g.policies[0]} and ${g.policies.length - 1} alike` : g.policies.join(", "); });
const groupOf = policy => groups.find(g => g.policies.includes(policy));

/* Could a kernel run it? LRU and its like see every access, OPT the future: they read no page tables. */
function runs(row) { return row.ptes_walked != null; }
function best(rows, key, sign) {
  const values = rows.filter(r => runs(r) && r[key] != null).map(r => r[key]);
  if (!sign || !values.length || Math.min(...values) === Math.max(...values)) return null;
  return sign < 0 ? Math.min(...values) : Math.max(...values);
}
function drawTable() {
  const rows = rowsOf(memory), table = by("table");
  const head = make("tr"); head.append(make("th", "policy"));
  for (const [key, name] of COLUMNS) head.append(make("th", name, { title: data.meanings[key] }));
  const thead = make("thead"); thead.append(head);
  const body = make("tbody"), most = Math.max(1, ...rows.map(r => r.refaults));
  for (const row of rows) {
    const line = make("tr"), first = make("td");
    first.append(make("span", "", { class: "swatch", style: `background:${groupOf(row.policy).colour}` }), row.policy);
    line.append(first);
    for (const [key, , text, sign] of COLUMNS) {
      const cell = make("td", text(row[key])), top = best(rows, key, sign);
      if (top != null && row[key] === top && runs(row)) cell.classList.add("best");
      if (key === "refaults") { cell.classList.add("bar"); cell.style.backgroundSize = `${100 * row.refaults / most}% 62%`; }
      line.append(cell);
    }
    body.append(line);
  }
  table.replaceChildren(thead, body);
  const vms = by("vms"), names = rows.length ? rows[0].vms.map(v => v.name) : [];
  const top = make("tr"); top.append(make("th", "policy"));
  for (const name of names) for (const what of ["refaults", "evictions", "resident", "working set", "truly used"]) top.append(make("th", `${name}: ${what}`));
  const vmHead = make("thead"), vmBody = make("tbody"); vmHead.append(top);
  for (const row of rows) {
    const line = make("tr"); line.append(make("td", row.policy));
    for (const vm of row.vms) line.append(make("td", whole(vm.refaults)), make("td", whole(vm.evictions)), make("td", size(vm.resident_pages * 4096)), make("td", vm.working_set_pages == null ? "–" : size(vm.working_set_pages * 4096)), make("td", vm.working_set_true_pages == null ? "–" : size(vm.working_set_true_pages * 4096)));
    vmBody.append(line);
  }
  vms.replaceChildren(vmHead, vmBody);
}
function drawAnswer() {
  const rows = rowsOf(memory).filter(runs);
  if (rows.length < 2) return;
  const least = rows.reduce((a, b) => b.refaults < a.refaults ? b : a), most = rows.reduce((a, b) => b.refaults > a.refaults ? b : a);
  const alike = rows.filter(r => r.refaults === least.refaults).map(r => r.policy);
  const who = alike.length > 2 ? `${alike.slice(0, -1).join(", ")} and ${alike.at(-1)}` : alike.join(" and ");
  const below = rowsOf(memory).filter(r => !runs(r) && r.refaults < least.refaults).sort((a, b) => b.refaults - a.refaults);
  by("answer").textContent = (least.refaults === most.refaults
    ? `With ${size(memory)}, every policy that a kernel can run refaults ${whole(least.refaults)} pages.`
    : `With ${size(memory)}, of the policies that a kernel can run, ${who} refault${alike.length > 1 ? "" : "s"} least: ${whole(least.refaults)} pages. ${most.policy} refaults ${whole(most.refaults)}` +
      (least.refaults ? `, ${Math.round(100 * (most.refaults / least.refaults - 1))} % more.` : ".")) +
    (below.length ? ` What no kernel can run, since it sees every access or the future: ${below.map(r => `${r.policy} ${whole(r.refaults)}`).join(", ")}.` : "");
}

function nice(top) {
  const unit = 10 ** Math.floor(Math.log10(top || 1));
  const step = [1, 2, 5, 10].map(k => k * unit / 5).find(k => top / k <= 5) || unit * 2;
  return step;
}
/* series: [{name, title, colour, points: [[x, y]...], dots, hollow, errors: half heights, noLine, dash}]; names stand at the end of each
   line, moved apart. log: a logarithmic y axis, points above 0 only. */
function chart(where, series, xText, yText, xTicks, hover, log) {
  const W = Math.max(320, by(where).clientWidth || 1072), narrow = W < 640, H = narrow ? 240 : 320, left = narrow ? 48 : 62, right = narrow ? 10 : 168, top = 12, bottom = 30;
  const box = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img" });
  const xs = series.flatMap(s => s.points.map(p => p[0])), ys = series.flatMap(s => s.points.map(p => p[1]));
  const x0 = Math.min(...xs), x1 = Math.max(...xs, x0 + 1), y1 = Math.max(...ys, log ? 0 : 1);
  const y0 = log ? Math.min(...ys) / 1.1 : 0, to = log ? Math.log : y => y;
  const X = x => left + (x - x0) / (x1 - x0) * (W - left - right);
  const Y = y => H - bottom - (to(Math.max(y, y0)) - to(y0)) / (to(y1) - to(y0)) * (H - top - bottom);
  for (const y of log ? decades(y0, y1) : steps(y1)) {
    box.append(svg("line", { class: "grid", x1: left, x2: W - right, y1: Y(y), y2: Y(y) }), svg("text", { x: left - 8, y: Y(y) + 4, "text-anchor": "end" }, yText(y)));
  }
  let free = -1;
  for (const x of xTicks(x0, x1)) {
    if (X(x) < free) continue;
    free = X(x) + 16 + 7 * xText(x).length;
    box.append(svg("text", { x: X(x), y: H - 8, "text-anchor": X(x) > W - 30 ? "end" : "middle" }, xText(x)));
  }
  const ends = series.map(s => ({ s, y: Y(s.points.at(-1)[1]) })).sort((a, b) => a.y - b.y);
  for (let i = 1; i < ends.length; i++) ends[i].y = Math.max(ends[i].y, ends[i - 1].y + 15);
  const over = ends.length ? ends.at(-1).y - (H - bottom) : 0;
  if (over > 0) { ends.at(-1).y -= over; for (let i = ends.length - 2; i >= 0; i--) ends[i].y = Math.min(ends[i].y, ends[i + 1].y - 15); }
  for (const s of series) {
    const path = s.points.map((p, i) => (i ? "L" : "M") + X(p[0]).toFixed(1) + "," + Y(p[1]).toFixed(1)).join("");
    if (!s.noLine) box.append(svg("path", { class: "line", d: path, style: `stroke:${s.colour}${s.dash ? ";stroke-dasharray:" + s.dash : ""}` }));
    (s.errors || []).forEach((e, i) => { const [x, y] = s.points[i]; box.append(svg("line", { class: "error", x1: X(x), x2: X(x), y1: Y(y - e), y2: Y(y + e), style: `stroke:${s.colour}` })); });
    if (s.dots) for (const p of s.points) box.append(svg("circle", { cx: X(p[0]), cy: Y(p[1]), r: 3.5, style: s.hollow ? `fill:var(--back);stroke:${s.colour};stroke-width:1.5` : `fill:${s.colour}` }));
  }
  const key = make("p", null, { class: "key" });
  for (const { s, y } of ends) {
    if (narrow) {
      const item = make("span", null, { title: s.title });
      item.append(make("i", null, { style: s.hollow ? `border:2px solid ${s.colour};border-radius:50%` : `background:${s.colour}` }), s.name);
      key.append(item);
      continue;
    }
    const label = svg("text", { class: "end", x: W - right + 8, y: y + 4, style: `fill:${s.colour}` }, s.name);
    label.append(svg("title", {}, s.title)); box.append(label);
  }
  const cursor = svg("line", { class: "cursor", y1: top, y2: H - bottom, visibility: "hidden" });
  box.append(cursor);
  box.addEventListener("mousemove", event => {
    const rect = box.getBoundingClientRect(), x = x0 + ((event.clientX - rect.left) * W / rect.width - left) / (W - left - right) * (x1 - x0);
    if (x < x0 || x > x1) { cursor.setAttribute("visibility", "hidden"); hideTip(); return; }
    cursor.setAttribute("x1", X(x)); cursor.setAttribute("x2", X(x)); cursor.setAttribute("visibility", "visible");
    showTip(event, hover(x));
  });
  box.addEventListener("mouseleave", () => { cursor.setAttribute("visibility", "hidden"); hideTip(); });
  by(where).replaceChildren(box, key);
}
function steps(top) { const out = []; for (let y = 0; y <= top * 1.0001; y += nice(top)) out.push(y); return out; }
function decades(low, top) {
  const out = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.log10(top); e++) for (const k of [1, 2, 5]) if (k * 10 ** e >= low && k * 10 ** e <= top * 1.0001) out.push(k * 10 ** e);
  return out;
}
function timeTicks(x0, x1) {
  const rough = (x1 - x0) / 8 / 1e9, step = [.1, .2, .5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200, 86400].find(s => s >= rough) || 86400 * Math.ceil(rough / 86400);
  const out = [];
  for (let t = 0; t <= x1 + 1; t += step * 1e9) if (t >= x0) out.push(t);
  return out;
}
let end = 1;
for (const l of data.lines) end = Math.max(end, l.bin * l.sum.length);
for (const p of data.pictures) end = Math.max(end, p.bin * p.columns);

function drawTime() {
  const lines = data.lines.filter(l => l.memory === memory), rate = by("rate").checked, series = [];
  for (const group of groups) {
    const line = lines.find(l => group.policies.includes(l.policy));
    if (!line) continue;
    const fold = rate ? Math.max(1, Math.ceil(line.sum.length / 120)) : 1, points = [[0, 0]];
    let sum = 0, part = 0;
    line.sum.forEach((n, i) => {
      sum += n; part += n;
      if ((i + 1) % fold === 0 || i === line.sum.length - 1) { points.push([(i + 1) * line.bin, rate ? part / ((i % fold + 1) * line.bin / 1e9) : sum]); part = 0; }
    });
    series.push({ name: group.name, title: group.policies.join(", "), colour: group.colour, points });
  }
  by("timeSection").hidden = !series.length;
  if (!series.length) return;
  const at = (s, x) => { let y = 0; for (const p of s.points) { if (p[0] > x) break; y = p[1]; } return y; };
  chart("time", series, seconds, y => short(Math.round(y)), timeTicks,
    x => `after ${seconds(x)}\n` + series.map(s => `${s.title}: ${whole(Math.round(at(s, x)))}${rate ? " /s" : ""}`).join("\n"));
}
function drawCurve() {
  by("curveSection").hidden = memories.length < 2;
  if (memories.length < 2) return;
  const series = groups.map(g => ({
    name: g.name, title: g.policies.join(", "), colour: g.colour, dots: true,
    points: memories.map(m => [m, (rowsOf(m).find(r => r.policy === g.policies[0]) || {}).refaults]).filter(p => p[1] != null),
  })).filter(s => s.points.length);
  const near = x => memories.reduce((a, b) => Math.abs(b - x) < Math.abs(a - x) ? b : a);
  chart("curve", series, size, short, () => memories,
    x => { const m = near(x); return `${size(m)}\n` + series.map(s => `${s.title}: ${whole((s.points.find(p => p[0] === m) || [0, null])[1])}`).join("\n"); });
}
function colours() {
  const style = getComputedStyle(document.documentElement);
  const stops = [0, 1, 2, 3].map(i => style.getPropertyValue(`--h${i}`).trim()).map(h => [1, 3, 5].map(k => parseInt(h.slice(k, k + 2), 16)));
  const table = [];
  for (let i = 0; i < 256; i++) {
    const at = i / 255 * 3, low = Math.min(2, Math.floor(at));
    table.push(stops[low].map((c, k) => Math.round(c + (stops[low + 1][k] - c) * (at - low))));
  }
  return table;
}
/* The axis beside a map of pages, from the first at the top to the last. */
function pageAxis(pages) {
  const axis = make("div", null, { class: "pages" });
  axis.append(make("span", "0"), make("span", whole(pages >> 1)), make("span", whole(pages)));
  return axis;
}
function drawHeat() {
  by("heatSection").hidden = !data.pictures.length;
  const table = colours();
  by("heat").replaceChildren(...data.pictures.map(p => {
    const shades = Uint8Array.from(atob(p.shades), c => c.charCodeAt(0)), columns = Math.ceil(end / p.bin);
    const canvas = make("canvas", null, { width: columns, height: p.rows, role: "img", "aria-label": `pages of ${p.name} over time` });
    canvas.style.height = "190px";
    const paint = canvas.getContext("2d"), image = paint.createImageData(columns, p.rows);
    for (let y = 0; y < p.rows; y++) for (let x = 0; x < columns; x++) {
      const shade = x < p.columns ? shades[y * p.columns + x] : 0, colour = table[shade ? 40 + Math.round(shade * 215 / 255) : 0], at = 4 * (y * columns + x);
      image.data.set([...colour, 255], at);
    }
    paint.putImageData(image, 0, 0);
    canvas.addEventListener("mousemove", event => {
      const rect = canvas.getBoundingClientRect(), x = Math.floor((event.clientX - rect.left) / rect.width * columns), y = Math.floor((event.clientY - rect.top) / rect.height * p.rows);
      if (x < 0 || y < 0 || x >= p.columns || y >= p.rows) { hideTip(); return; }
      const n = Math.round(Math.expm1(shades[y * p.columns + x] / 255 * Math.log1p(p.top)));
      showTip(event, `${p.name}, after ${seconds(x * p.bin)}\npages ${whole(y * p.pagesPerRow)} to ${whole((y + 1) * p.pagesPerRow - 1)}\nabout ${whole(n)} accesses in ${seconds(p.bin)}`);
    });
    canvas.addEventListener("mouseleave", hideTip);
    const phases = make("div", null, { class: "phases" });
    p.phases.forEach((phase, i) => {
      const until = i + 1 < p.phases.length ? p.phases[i + 1].at : end;
      phases.append(make("span", phase.text, { title: phase.text, style: `left:${100 * phase.at / end}%;width:${100 * (until - phase.at) / end}%` }));
    });
    const ticks = make("div", null, { class: "ticks" });
    for (const t of timeTicks(0, end)) ticks.append(make("span", seconds(t), { style: `left:${100 * t / end}%` }));
    const map = make("div", null, { class: "map" }), drawn = make("div", null, { class: "drawn" });
    drawn.append(make("div"), phases, pageAxis(p.rows * p.pagesPerRow), canvas, make("div", "page", { class: "pages" }), ticks);
    map.append(make("h3", p.name), drawn);
    return map;
  }));
}
function drawSizes() {
  const box = by("sizes");
  box.hidden = memories.length < 2;
  box.replaceChildren(...memories.map(m => {
    const button = make("button", size(m), { type: "button", "aria-pressed": String(m === memory) });
    button.addEventListener("click", () => { memory = m; draw(); });
    return button;
  }));
}
