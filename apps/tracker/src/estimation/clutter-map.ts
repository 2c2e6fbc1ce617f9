/**
 * Where false alarms gather: their density over delay and Doppler, learned in cells that are small around zero Doppler,
 * where echoes from the ground lie, and grow outwards. A cell that has seen little is believed little: its density is the
 * mean of a gamma posterior whose prior is the density of the whole (D. Mušicki, S. Suvorova, M. Morelande and B. Moran, "Clutter map
 * and target tracking", Proc. 8th Int. Conf. Information Fusion, 2005). Owned by `sensor-model.ts`.
 */

/** Cells are evenly spaced in asinh(value / scale). */
interface Axis {
  readonly cells: number;
  readonly scale: number;
  /** The first cell begins here, in asinh; the last and the first are open. */
  readonly start: number;
  readonly step: number;
}

/** From −2 to 2 kHz; 4 Hz wide around zero, 20 Hz at 100 Hz. */
const DOPPLER: Axis = { cells: 54, scale: 20, start: -5.4, step: 0.2 };
/** From 0 to 220 km; 8 km wide at zero, 25 km at 50 km. */
const DELAY: Axis = { cells: 8, scale: 20, start: 0, step: 0.39 };
/** Learning looks back over so many frames. */
const FRAMES = 200;
/** The prior's weight, in false alarms. */
const PRIOR_COUNT = 0.5;
/** No place is taken to be emptier than this share of the whole: cells reach beyond what the radar covers. */
const SHARE_MIN = 0.5;

function cellOf({ cells, scale, start, step }: Axis, value: number): number {
  const cell = Math.floor((Math.asinh(value / scale) - start) / step);
  return Math.min(cells - 1, Math.max(0, cell));
}

function widthOf({ scale, start, step }: Axis, cell: number): number {
  return scale * (Math.sinh(start + (cell + 1) * step) - Math.sinh(start + cell * step));
}

const AREAS = Float64Array.from({ length: DOPPLER.cells * DELAY.cells }, (_, cell) => {
  const delayCell = cell % DELAY.cells;
  return widthOf(DELAY, delayCell) * widthOf(DOPPLER, (cell - delayCell) / DELAY.cells);
});

export class ClutterMap {
  /** False alarms in each cell, those of older frames counting less. */
  readonly #counts = new Float64Array(AREAS.length);
  /** Frames that the counts stand for. */
  #frames = 0;

  /** A frame begins. */
  nextFrame(): void {
    const kept = 1 - 1 / FRAMES;
    this.#frames = this.#frames * kept + 1;
    for (let cell = 0; cell < AREAS.length; cell++) {
      this.#counts[cell] = (this.#counts[cell] as number) * kept;
    }
  }

  /** A false alarm of this frame lay here. */
  learn(delayKm: number, dopplerHz: number): void {
    const cell = this.#cellAt(delayKm, dopplerHz);
    this.#counts[cell] = (this.#counts[cell] as number) + 1;
  }

  /** Expected false alarms in a frame per km·Hz around here, when there are `mean` of them overall. */
  density(delayKm: number, dopplerHz: number, mean: number): number {
    const cell = this.#cellAt(delayKm, dopplerHz);
    const count = this.#counts[cell] as number;
    const exposure = this.#frames * (AREAS[cell] as number);
    return Math.max(SHARE_MIN * mean, (count + PRIOR_COUNT) / (exposure + PRIOR_COUNT / mean));
  }

  #cellAt(delayKm: number, dopplerHz: number): number {
    return cellOf(DOPPLER, dopplerHz) * DELAY.cells + cellOf(DELAY, delayKm);
  }
}
