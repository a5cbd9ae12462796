// Meshes as binary glTF files, turned with mouse, touch or arrow keys; two turn together.

/* global THREE */

const FIELD_OF_VIEW_DEG = 30, MARGIN = 1.1, KEY_STEP_RAD = Math.PI / 18, KEY_ZOOM = 1.15;
const KEYS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

const ZOOMS = { "+": 1 / KEY_ZOOM, "=": 1 / KEY_ZOOM, "-": KEY_ZOOM };

let library = null;  // three.js, loaded once
const views = new Map();  // of the canvases that show a mesh
let leading = null;  // the canvas that was touched last

export async function drawMesh(canvas, glb) {
  library ||= loadScript("page/three.js");
  await library;
  const data = await glb.arrayBuffer();
  const model = await new Promise((resolve, reject) => new THREE.GLTFLoader().parse(data, "", resolve, reject));
  clearMesh(canvas);
  views.set(canvas, view(canvas, model.scene));
}

export function clearMesh(canvas) {
  views.get(canvas)?.stop();
  views.delete(canvas);
}

function loadScript(address) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`${address} cannot be loaded`));
    document.head.append(script);
  });
}

// Draws a model until the returned `stop` is called; `follow` looks at it as another view does at its own.
function view(canvas, model) {
  const scene = new THREE.Scene(), light = new THREE.DirectionalLight(0xffffff, 0.6);
  scene.add(model, light, new THREE.AmbientLight(0xffffff, 0.6));
  const renderer = new THREE.WebGLRenderer({ canvas, antialias: true, alpha: true });
  renderer.outputEncoding = THREE.sRGBEncoding;
  renderer.setPixelRatio(window.devicePixelRatio);
  const camera = frontCamera(model), controls = new THREE.TrackballControls(camera, canvas);
  controls.target.copy(centreOf(model));
  controls.rotateSpeed = 2;
  controls.staticMoving = true;
  controls.keys = [];

  const { target } = controls;
  const draw = () => {
    light.position.copy(camera.position);
    light.target = model;
    renderer.render(scene, camera);
    canvas.dataset.camera = camera.position.toArray().map((value) => value.toFixed(4)).join(" ");
  };
  const resize = new ResizeObserver(() => {
    renderer.setSize(canvas.clientWidth, canvas.clientHeight, false);
    camera.aspect = canvas.clientWidth / canvas.clientHeight;
    camera.updateProjectionMatrix();
    controls.handleResize();
    draw();
  });
  const change = () => {
    draw();
    for (const [other, { follow }] of views) if (other !== canvas) follow(camera, target);
  };
  const follow = (leader, theirs) => {
    camera.position.copy(leader.position).sub(theirs).add(target);
    camera.up.copy(leader.up);
    camera.lookAt(target);
    draw();
  };
  const press = (event) => {
    if (event.key in KEYS) turnBy(camera, target, KEYS[event.key]);
    else if (event.key in ZOOMS) camera.position.sub(target).multiplyScalar(ZOOMS[event.key]).add(target);
    else return;
    event.preventDefault();
    leading = canvas;
    change();
  };
  let frame = 0;
  const animate = () => {
    frame = requestAnimationFrame(animate);
    controls.update();
  };
  // The controls also tell of a change that comes from the other view: only that of the last one touched goes on.
  const lead = () => { leading = canvas; };
  const touches = ["pointerdown", "mousedown", "touchstart", "wheel"];
  for (const name of touches) canvas.addEventListener(name, lead, { capture: true, passive: true });
  controls.addEventListener("change", () => (leading === canvas ? change() : draw()));
  canvas.addEventListener("keydown", press);
  resize.observe(canvas);
  animate();
  const stop = () => {
    cancelAnimationFrame(frame);
    resize.disconnect();
    canvas.removeEventListener("keydown", press);
    for (const name of touches) canvas.removeEventListener(name, lead, { capture: true });
    controls.dispose();
    model.traverse((part) => part.geometry?.dispose());
    renderer.dispose();
  };
  return { stop, follow };
}

function centreOf(model) {
  return new THREE.Box3().setFromObject(model).getCenter(new THREE.Vector3());
}

// A camera before the model, from the side of the photograph's camera, that sees all of it.
function frontCamera(model) {
  const sphere = new THREE.Box3().setFromObject(model).getBoundingSphere(new THREE.Sphere());
  const distance = (MARGIN * sphere.radius) / Math.sin((FIELD_OF_VIEW_DEG * Math.PI) / 360);
  const camera = new THREE.PerspectiveCamera(FIELD_OF_VIEW_DEG, 1, distance / 100, 10 * distance);
  camera.position.copy(sphere.center).add(new THREE.Vector3(0, 0, distance));
  camera.lookAt(sphere.center);
  return camera;
}

function turnBy(camera, target, [down, right]) {
  const arm = camera.position.clone().sub(target);
  const side = new THREE.Vector3().crossVectors(camera.up, arm).normalize();
  arm.applyAxisAngle(camera.up, right * KEY_STEP_RAD).applyAxisAngle(side, down * KEY_STEP_RAD);
  camera.up.applyAxisAngle(side, down * KEY_STEP_RAD);
  camera.position.copy(target).add(arm);
  camera.lookAt(target);
}
