// The mesh as a binary glTF file, turned with mouse, touch or arrow keys.

/* global THREE */

const FIELD_OF_VIEW_DEG = 30, MARGIN = 1.1, KEY_STEP_RAD = Math.PI / 18;
const KEYS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

let library = null;  // three.js, loaded once
let stop = () => {};

export async function drawMesh(canvas, glb) {
  library ||= loadScript("page/three.js");
  await library;
  const data = await glb.arrayBuffer();
  const model = await new Promise((resolve, reject) => new THREE.GLTFLoader().parse(data, "", resolve, reject));
  stop();
  stop = view(canvas, model.scene);
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

// Draws a model until the returned function is called.
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
  const turn = (event) => {
    if (!(event.key in KEYS)) return;
    event.preventDefault();
    turnBy(camera, controls.target, KEYS[event.key]);
    draw();
  };
  let frame = 0;
  const animate = () => {
    frame = requestAnimationFrame(animate);
    controls.update();
  };
  controls.addEventListener("change", draw);
  canvas.addEventListener("keydown", turn);
  resize.observe(canvas);
  animate();
  return () => {
    cancelAnimationFrame(frame);
    resize.disconnect();
    canvas.removeEventListener("keydown", turn);
    controls.dispose();
    model.traverse((part) => part.geometry?.dispose());
    renderer.dispose();
  };
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
