// Texts whose contrast with what is behind them is below 4.5 (WCAG 2.2, success criterion 1.4.3).
(() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const paint = (colour, over) => { canvas.fillStyle = over; canvas.fillRect(0, 0, 1, 1); canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1); return `rgb(${[...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)})`; };
  const light = (rgb) => { const [r, g, b] = rgb.match(/\d+/g).map((one) => (one /= 255) <= .04045 ? one / 12.92 : ((one + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const behind = (node) => node ? paint(getComputedStyle(node).backgroundColor, behind(node.parentElement)) : "rgb(255,255,255)";
  const bad = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || /SCRIPT|STYLE|OPTION|NOSCRIPT/.test(node.tagName) || !node.checkVisibility() || node.closest(".hush, .skip, :disabled")) continue;
    const back = behind(node), front = paint(getComputedStyle(node).color, back);
    const [low, high] = [light(back), light(front)].sort((a, b) => a - b), ratio = (high + .05) / (low + .05);
    if (ratio < 4.5) bad.push([walk.currentNode.data.trim().slice(0, 30), node.className, ratio.toFixed(2), front, back]);
  }
  return bad;
})()
