/* What only a simulator knows: causes, who pays, how soon pages come back, where and when. */
const CAUSE_COLOURS = {
  not_consulted: "#d55e00", fast_only: "#e69f00", look_around: "#f0e442", bloom: "#009e73", idle_entry: "#56b4e9", not_walked: "#0072b2",
  sank: "#8c96a1", first_sight: "#cc79a7", batch: "#6b7280", lost: "#882255", window: "#b9c0c8", huge: "#117733", not_cleared: "#44aa99",
  stale_bit: "#5b3fa0", kept: "#c9a227",
};
const words = cause => cause.replaceAll("_", " ");
/* One row for policies that are alike in what `of` says of them. */
function alike(rows, of) {
  const found = [];
  for (const row of rows) {
    const key = JSON.stringify(of(row)), known = found.find(f => f.key === key);
    if (known) known.policies.push(row.policy); else found.push({ key, row, policies: [row.policy] });
  }
  return found;
}
function drawCauses() {
  const rows = rowsOf(memory).filter(r => r.aging && r.aging.false_old_by && r.aging.pages);
  by("causesSection").hidden = !rows.length;
  if (!rows.length) return;
  const kinds = [["false_old", "Called old, although used"], ["false_young", "Called young, although idle"]];
  const most = Math.max(...rows.flatMap(r => kinds.map(([kind]) => r.aging[kind] / r.aging.pages)), 1e-9), seen = new Set();
  by("causes").replaceChildren(...kinds.map(([kind, title]) => {
    const box = make("div", null, { class: "bars" });
    box.append(make("h3", title));
    for (const { row, policies } of alike(rows, r => r.aging[kind + "_by"])) {
      const line = make("div", null, { class: "barline" }), bar = make("div", null, { class: "stack" }), pages = row.aging.pages;
      for (const [cause, n] of Object.entries(row.aging[kind + "_by"])) {
        if (!n) continue;
        seen.add(cause);
        const part = make("i", null, { style: `width:${100 * n / pages / most}%;background:${CAUSE_COLOURS[cause]}` });
        part.addEventListener("mousemove", e => showTip(e, `${policies.join(", ")}\n${words(cause)}: ${share(n / pages)} of the pages assessed\n${data.causes[cause]}`));
        part.addEventListener("mouseleave", hideTip);
        bar.append(part);
      }
      line.append(make("span", policies.join(", "), { class: "who" }), bar, make("b", share(row.aging[kind] / pages)));
      box.append(line);
    }
    return box;
  }));
  by("causeKey").replaceChildren(...Object.keys(CAUSE_COLOURS).filter(c => seen.has(c)).map(cause => {
    const item = make("span");
    item.append(make("i", null, { style: `background:${CAUSE_COLOURS[cause]}` }), make("b", words(cause)), ": " + data.causes[cause]);
    return item;
  }));
}
function points(n) { return (n < 0 ? "\u2212" : "+") + Math.abs(100 * n).toFixed(1); }
function drawSkew() {
  const rows = rowsOf(memory).filter(r => r.vms.some(v => v.eviction_skew != null) && r.policy !== "opt");
  const names = rows.length ? rows[0].vms.map(v => v.name) : [];
  by("skewSection").hidden = !rows.length || names.length < 2;
  if (by("skewSection").hidden) return;
  const value = (row, name) => row.vms.find(v => v.name === name).eviction_skew || 0;
  const largest = names.map(name => [name, Math.max(...rows.map(r => Math.abs(value(r, name))))]).sort((a, b) => b[1] - a[1]).slice(0, 6).map(x => x[0]);
  const most = Math.max(...rows.flatMap(r => largest.map(name => Math.abs(value(r, name)))), 1e-9);
  by("skew").replaceChildren(...names.filter(n => largest.includes(n)).map(name => {
    const box = make("div", null, { class: "bars" });
    box.append(make("h3", name));
    for (const { row, policies } of alike(rows, r => value(r, name))) {
      const line = make("div", null, { class: "barline" }), bar = make("div", null, { class: "stack both" }), n = value(row, name), width = 50 * Math.abs(n) / most;
      bar.append(make("i", null, { style: `position:absolute;left:${n < 0 ? 50 - width : 50}%;width:${width}%;background:var(${n < 0 ? "--c0" : "--c3"})` }));
      line.append(make("span", policies.join(", "), { class: "who" }), bar, make("b", points(n)));
      box.append(line);
    }
    return box;
  }));
}
function span(bits) {
  const low = bits ? 2 ** (bits - 1) * data.tick / 1e9 : 0;
  return low === 0 ? "0" : low < 1 ? Math.round(1000 * low) + " ms" : low < 600 ? +low.toPrecision(2) + " s" : Math.round(low / 60) + " min";
}
function drawIntervals() {
  const rows = rowsOf(memory).filter(r => r.refault_intervals && r.refault_intervals.length);
  by("intervalSection").hidden = !rows.length;
  if (!rows.length) return;
  const first = Math.min(...rows.map(r => r.refault_intervals.findIndex(n => n))), last = Math.max(...rows.map(r => r.refault_intervals.length)) - 1;
  const most = Math.max(...rows.flatMap(r => r.refault_intervals));
  by("intervals").replaceChildren(...alike(rows, r => r.refault_intervals).map(({ row, policies }) => {
    const W = 330, H = 130, low = 22, box = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img" }), step = (W - 8) / (last - first + 1), every = Math.ceil((last - first + 2) / 5);
    for (let b = first; b <= last; b++) {
      const n = row.refault_intervals[b] || 0, h = (H - low - 18) * n / most, x = 4 + (b - first) * step;
      const bar = svg("rect", { x: x + 1, y: H - low - h, width: Math.max(1, step - 2), height: Math.max(h, n ? 1 : 0), style: `fill:${groupOf(row.policy).colour}` });
      const hit = svg("rect", { x, y: 0, width: step, height: H - low, fill: "transparent" });
      hit.addEventListener("mousemove", e => showTip(e, `${policies.join(", ")}\naway for ${span(b)} to ${span(b + 1)}: ${whole(n)} refaults`));
      hit.addEventListener("mouseleave", hideTip);
      box.append(bar, hit);
      if ((b - first) % every === 0) box.append(svg("text", { x: x, y: H - 6 }, span(b)));
    }
    box.append(svg("line", { class: "grid", x1: 4, x2: W - 4, y1: H - low, y2: H - low }), svg("text", { x: W - 4, y: 12, "text-anchor": "end" }, `highest of all: ${whole(most)}`));
    const cell = make("div", null, { class: "cell" });
    cell.append(make("h3", policies.join(", ")), box);
    return cell;
  }));
}
function drawMisses() {
  const m = data.misses;
  by("missSection").hidden = !m;
  if (!m) return;
  const series = [];
  if (m.lru.length) series.push({ name: "LRU, exact", title: "LRU, exact", colour: "var(--ink)", points: m.lru });
  if (m.opt.length) series.push({ name: "OPT", title: "OPT (Belady)", colour: "var(--soft)", points: m.opt, dash: "5 4" });
  series.push({ name: "LRU, sampled", title: `LRU, from ${share(m.rate)} of the pages`, colour: "var(--ink)", hollow: true, points: m.sample.map(p => [p[0], p[1]]), errors: m.sample.map(p => p[2]), noLine: true, dots: true });
  for (const group of groups) {
    const found = memories.map(size => rowsOf(size).find(r => r.policy === group.policies[0])).filter(r => r && r.policy !== "lru" && r.policy !== "opt");
    if (found.length) series.push({ name: group.name, title: group.policies.join(", "), colour: group.colour, points: found.map(r => [r.memory_bytes, r.faults / r.accesses]), dots: true });
  }
  const near = (s, x) => s.points.reduce((a, b) => Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a);
  const far = Math.max(...series.flatMap(s => s.points.map(p => p[0])));
  const ticks = () => { const out = [], unit = far / 6, step = 2 ** Math.round(Math.log2(unit)); for (let x = step; x <= far; x += step) out.push(x); return out; };
  chart("misses", series.map(s => ({ ...s, points: s.points.filter(p => p[1] > 0) })).filter(s => s.points.length), size, y => +(100 * y).toPrecision(2) + " %", ticks,
    x => `${size(Math.round(x / 65536) * 65536)}\n` + series.map(s => { const p = near(s, x); return `${s.title}: ${(100 * p[1]).toPrecision(3)} %` + (s.points.length < 60 ? ` at ${size(p[0])}` : ""); }).join("\n"), true);
}
let member = 0;
const shadeCache = new Map();
function shadesOf(i) {
  if (!shadeCache.has(i)) shadeCache.set(i, Uint8Array.from(atob(data.where.shades[i]), c => c.charCodeAt(0)));
  return shadeCache.get(i);
}
const KINDS = [["young", "in the two youngest generations"], ["refaults", "refaults"], ["evictions", "evictions"]];
function drawWhere() {
  const w = data.where, maps = w.maps.filter(m => m.memory === memory);
  by("whereSection").hidden = !maps.length;
  if (!maps.length) return;
  by("members").hidden = w.names.length < 2;
  by("members").replaceChildren(...w.names.map((name, i) => {
    const button = make("button", name, { type: "button", "aria-pressed": String(i === member) });
    button.addEventListener("click", () => { member = i; drawWhere(); });
    return button;
  }));
  const table = colours(), out = [];
  const head = make("div", null, { class: "maps head" });
  head.append(make("div", "page", { class: "pages" }));
  for (const [kind, name] of KINDS) {
    const cell = make("div"), key = make("div", null, { class: "scale" });
    key.append(make("span", kind === "young" ? "0 %" : "0"), make("i"), make("span", kind === "young" ? "100 %" : whole(w.tops[kind][member])));
    cell.append(make("h3", name), key);
    head.append(cell);
  }
  out.push(head);
  const same = m => KINDS.map(([kind]) => m[kind][member]);
  for (const { row: map, policies } of alike(maps, same)) {
    out.push(make("h4", policies.join(", ")));
    const line = make("div", null, { class: "maps" });
    line.append(pageAxis(w.rows[member] * w.pagesPerRow[member]));
    for (const [kind, name] of KINDS) {
      const place = map[kind][member], rows = w.rows[member], columns = map.columns[member];
      if (place == null) { line.append(make("div", "\u2013", { class: "none", title: "this policy has no such thing" })); continue; }
      const values = shadesOf(place), canvas = make("canvas", null, { width: columns, height: rows, role: "img", "aria-label": `${name}, ${policies.join(", ")}, ${w.names[member]}` });
      const paint = canvas.getContext("2d"), image = paint.createImageData(columns, rows);
      for (let i = 0; i < values.length; i++) {
        const v = values[i], none = kind === "young" && v === 255;
        image.data.set(none ? [0, 0, 0, 0] : [...table[kind === "young" ? Math.min(255, v + 1) : v ? 40 + Math.round(v * 215 / 255) : 0], 255], 4 * i);
      }
      paint.putImageData(image, 0, 0);
      canvas.addEventListener("mousemove", event => {
        const rect = canvas.getBoundingClientRect(), x = Math.floor((event.clientX - rect.left) / rect.width * columns), y = Math.floor((event.clientY - rect.top) / rect.height * rows);
        if (x < 0 || y < 0 || x >= columns || y >= rows) { hideTip(); return; }
        const v = values[y * columns + x], about = Math.round(Math.expm1(v / 255 * Math.log1p(Math.max(1, w.tops[kind][member]))));
        const said = kind === "young" ? (v === 255 ? "no page on a list" : `${Math.round(v / 2.54)} % in the two youngest generations`) : `about ${whole(about)} ${kind}`;
        showTip(event, `${policies.join(", ")}, after ${seconds(x * w.bin)}\npages ${whole(y * w.pagesPerRow[member])} to ${whole((y + 1) * w.pagesPerRow[member] - 1)}\n${said}`);
      });
      canvas.addEventListener("mouseleave", hideTip);
      line.append(canvas);
    }
    out.push(line);
  }
  by("where").replaceChildren(...out);
  const length = w.bin * Math.max(...maps.map(m => m.columns[member])), pages = w.rows[member] * w.pagesPerRow[member];
  by("whereAxes").textContent = `From left to right: ${seconds(length)} of trace time. From top to bottom: ${whole(pages)} pages in bands of ${whole(w.pagesPerRow[member])}.` +
    (w.leftOut ? ` ${w.leftOut} runs are left out: the page would grow too large.` : "");
}
