/** Who counts the places that refer to each part of the journal. */
export interface Space {
  hold(position: number, places: number): void
  letGo(position: number, places: number): void
}

/** Counts nothing: while recovery replays, which counts once at its end. */
export const NO_SPACE: Space = { hold: () => {}, letGo: () => {} }
