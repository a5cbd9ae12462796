// The people found in the photograph, as boxes to choose from.

// Lays a button over every box; the image fits into its frame as `contain` does.
export function showPeople(frame, image, boxes, chosen, choose) {
  const place = () => {
    const { naturalWidth: width, naturalHeight: height } = image;
    const zoom = Math.min(frame.clientWidth / width, frame.clientHeight / height);
    const left = (frame.clientWidth - width * zoom) / 2, top = (frame.clientHeight - height * zoom) / 2;
    for (const button of frame.querySelectorAll("button")) button.remove();
    if (!width || boxes.length < 2) return;
    boxes.forEach((box, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "person";
      button.setAttribute("aria-label", `Person ${i + 1} of ${boxes.length}`);
      button.setAttribute("aria-pressed", String(i === chosen));
      button.style.left = `${left + box[0] * zoom}px`;
      button.style.top = `${top + box[1] * zoom}px`;
      button.style.width = `${(box[2] - box[0]) * zoom}px`;
      button.style.height = `${(box[3] - box[1]) * zoom}px`;
      button.addEventListener("click", () => choose(i));
      frame.append(button);
    });
  };
  image.onload = place;
  new ResizeObserver(place).observe(frame);
  place();
}
