function draw() { drawSizes(); drawAnswer(); drawTable(); drawCauses(); drawTime(); drawCurve(); drawMisses(); drawSkew(); drawIntervals(); drawWhere(); }
by("rate").addEventListener("change", drawTime);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { drawHeat(); drawWhere(); });
let width = innerWidth;
addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; drawTime(); drawCurve(); drawMisses(); } });
draw(); drawHeat();
