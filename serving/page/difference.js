// How far two models' maps of one person are apart.

// Share of the person's pixels that both have, and there the mean differences: of depth about its median in metres, and
// of normals in degrees. Each side has `depth`, `normals` (pixels of its picture) and the answer's `body`.
export function meanDifference(first, second) {
  const one = first.depth.millimetres, two = second.depth.millimetres;
  const shift = 1000 * (first.body.depth.median - second.body.depth.median);
  let either = 0, both = 0, millimetres = 0, degrees = 0;
  for (let i = 0; i < one.length; i++) {
    if (one[i] || two[i]) either += 1;
    if (!one[i] || !two[i]) continue;
    both += 1;
    millimetres += Math.abs(one[i] - two[i] - shift);
    degrees += angleDeg(normalAt(first.normals.data, i), normalAt(second.normals.data, i));
  }
  const shared = Math.max(both, 1);
  return { share: both / Math.max(either, 1), metres: millimetres / shared / 1000, degrees: degrees / shared };
}

// The inverse of the picture's colours, R = (1 - nx) / 2, G = (1 - ny) / 2, B = -nz.
function normalAt(data, i) {
  return [1 - data[4 * i] / 127.5, 1 - data[4 * i + 1] / 127.5, -data[4 * i + 2] / 255];
}

function angleDeg(a, b) {
  const cosine = (a[0] * b[0] + a[1] * b[1] + a[2] * b[2]) / (Math.hypot(...a) * Math.hypot(...b));
  return (Math.acos(Math.min(Math.max(cosine, -1), 1)) * 180) / Math.PI;
}
