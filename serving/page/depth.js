// Depth as the service sends it: a 16-bit PNG in millimetres, 0 = background.

// Browsers show such a PNG with 8 bits, which leaves no depth: this reads the millimetres themselves.
export async function decodeDepth(bytes) {
  const view = new DataView(bytes.buffer), data = [];
  let width = 0, height = 0;
  for (let at = 8; at < bytes.length;) {
    const length = view.getUint32(at), kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (kind === "IHDR") { width = view.getUint32(at + 8); height = view.getUint32(at + 12); }
    if (kind === "IDAT") data.push(bytes.subarray(at + 8, at + 8 + length));
    at += length + 12;
  }
  const stream = new Blob(data).stream().pipeThrough(new DecompressionStream("deflate"));
  const raw = new Uint8Array(await new Response(stream).arrayBuffer());
  return { width, height, millimetres: unfilter(raw, width, height) };
}

function unfilter(raw, width, height) {
  const stride = 2 * width, values = new Uint16Array(width * height);
  let above = new Uint8Array(stride);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (stride + 1)], line = raw.subarray(y * (stride + 1) + 1, (y + 1) * (stride + 1));
    for (let i = 0; i < stride; i++) {
      const left = i > 1 ? line[i - 2] : 0, up = above[i], corner = i > 1 ? above[i - 2] : 0;
      if (filter === 1) line[i] += left;
      else if (filter === 2) line[i] += up;
      else if (filter === 3) line[i] += (left + up) >> 1;
      else if (filter === 4) line[i] += paeth(left, up, corner);
    }
    for (let x = 0; x < width; x++) values[y * width + x] = (line[2 * x] << 8) | line[2 * x + 1];
    above = line;
  }
  return values;
}

function paeth(left, up, corner) {
  const guess = left + up - corner;
  const toLeft = Math.abs(guess - left), toUp = Math.abs(guess - up), toCorner = Math.abs(guess - corner);
  return toLeft <= toUp && toLeft <= toCorner ? left : toUp <= toCorner ? up : corner;
}

// Near is light, far is dark; unsure is violet, sure is yellow.
const DEPTH = [[252, 253, 191], [254, 159, 109], [222, 73, 104], [140, 41, 129], [59, 15, 112], [10, 8, 40]];
const CONFIDENCE = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];

// The colours of 0 to 1 in 256 steps, four bytes each.
function table(stops) {
  const colours = new Uint8ClampedArray(4 * 256);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * (stops.length - 1), low = Math.min(Math.floor(place), stops.length - 2);
    colours.set([...stops[low].map((value, j) => value + (stops[low + 1][j] - value) * (place - low)), 255], 4 * i);
  }
  return colours;
}

// Paints a picture of shares of 0 to 1; where there is none, it is transparent.
function paint(canvas, width, height, stops, shareAt) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d"), picture = context.createImageData(width, height), colours = table(stops);
  for (let i = 0; i < width * height; i++) {
    const share = shareAt(i);
    if (share === null) continue;
    const at = 4 * Math.round(255 * Math.min(Math.max(share, 0), 1));
    picture.data.set(colours.subarray(at, at + 4), 4 * i);
  }
  context.putImageData(picture, 0, 0);
}

export function drawDepth(canvas, { width, height, millimetres }, near, far) {
  const span = Math.max(far - near, 1);
  paint(canvas, width, height, DEPTH, (i) => (millimetres[i] ? (millimetres[i] - near) / span : null));
}

// The confidence from its grey picture; depth tells where the person is.
export async function drawConfidence(canvas, blob, { width, height, millimetres }) {
  const { data } = await pixelsOf(blob, width, height);
  paint(canvas, width, height, CONFIDENCE, (i) => (millimetres[i] ? data[4 * i] / 255 : null));
}

// The picture of the normals without its white background; returns its pixels.
export async function drawNormals(canvas, blob, { width, height, millimetres }) {
  const picture = await pixelsOf(blob, width, height);
  for (let i = 0; i < millimetres.length; i++) if (!millimetres[i]) picture.data[4 * i + 3] = 0;
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(picture, 0, 0);
  return picture;
}

async function pixelsOf(blob, width, height) {
  const source = document.createElement("canvas");
  source.width = width;
  source.height = height;
  const context = source.getContext("2d");
  context.drawImage(await createImageBitmap(blob), 0, 0);
  return context.getImageData(0, 0, width, height);
}

export function drawScales(depth, confidence) {
  for (const [canvas, stops] of [[depth, DEPTH], [confidence, CONFIDENCE]]) {
    paint(canvas, canvas.width, 1, stops, (x) => x / (canvas.width - 1));
  }
}

// Millimetres under the pointer, 0 outside the person; the canvas fits its picture into its box as `contain` does.
export function depthAt(canvas, { width, height, millimetres }, event) {
  const box = canvas.getBoundingClientRect(), zoom = Math.min(box.width / width, box.height / height);
  const x = Math.floor((event.clientX - box.left - (box.width - width * zoom) / 2) / zoom);
  const y = Math.floor((event.clientY - box.top - (box.height - height * zoom) / 2) / zoom);
  return x >= 0 && y >= 0 && x < width && y < height ? millimetres[y * width + x] : 0;
}
