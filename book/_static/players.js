/* The picture of a sound plays and stops it, and a line tells where it is; on a phone the picture is
   all of the player that there is, until a sound cannot be played. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const players = [...document.querySelectorAll(".bd-article img.spectrogram + audio")];
  for (const player of players) {
    const picture = player.previousElementSibling;
    const button = document.createElement("button");
    const show = () => {
      button.setAttribute("aria-pressed", String(!player.paused && !player.ended));
    };
    button.type = "button";
    button.className = "spectrogram";
    button.setAttribute("aria-label", `Play: ${player.getAttribute("aria-label")}`);
    picture.replaceWith(button);
    button.append(picture);
    show();
    button.addEventListener("click", () => {
      if (!player.paused) {
        player.pause();
        return;
      }
      players.forEach((other) => other.pause());
      player.play().catch((error) => {
        // A sound that was stopped before it began is none that failed.
        button.classList.toggle("failed", error.name !== "AbortError");
        show();
      });
    });
    for (const event of ["play", "pause", "ended"]) {
      player.addEventListener(event, show);
    }
    player.addEventListener("timeupdate", () => {
      const share = player.currentTime / player.duration;
      button.style.setProperty("--played", `${100 * (share || 0)}%`);
    });
  }
});
