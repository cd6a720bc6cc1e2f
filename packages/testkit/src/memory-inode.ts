import type { Random } from '@stathmos/std'

/** What a disk writes as a whole: half of one never survives. */
const SECTOR_BYTES = 512

/** Which of the sectors that were written but not synced a power cut leaves. */
type Survival = 'none' | 'all' | 'prefix' | 'subset'
const SURVIVALS: readonly Survival[] = ['none', 'all', 'prefix', 'subset']

/** The content of one file: as the processes see it, and as it is on the platter. */
export class MemoryInode {
  #seen = new Uint8Array(0)
  #platter = new Uint8Array(0)
  size = 0
  #platterSize = 0
  /** Sectors that differ, or may, from the platter. */
  readonly #dirty = new Set<number>()
  /** Bytes below this were cut off since the last sync, so that the platter may still have the longer file. */
  #resized = false

  write(bytes: Uint8Array, position: number): void {
    const end = position + bytes.length
    this.#seen = grown(this.#seen, end)
    this.#seen.set(bytes, position)
    if (end > this.size) this.#resize(end)
    this.#touch(position, end)
  }

  read(into: Uint8Array, position: number): number {
    const count = Math.max(0, Math.min(into.length, this.size - position))
    into.set(this.#seen.subarray(position, position + count))
    return count
  }

  truncate(size: number): void {
    this.#seen = grown(this.#seen, size)
    this.#seen.fill(0, Math.min(size, this.size))
    this.#touch(Math.min(size, this.size), Math.max(size, this.size))
    this.#resize(size)
  }

  sync(): void {
    this.#platter = grown(this.#platter, this.size)
    for (const sector of this.#dirty) this.#store(sector)
    this.#dirty.clear()
    this.#platter.fill(0, this.size)
    this.#platterSize = this.size
    this.#resized = false
  }

  /**
   * What a failed sync does on common file systems: the pages count as clean from then on, so that
   * the next sync succeeds and stores none of them.
   */
  failSync(): void {
    this.#dirty.clear()
  }

  /** As the next process finds it when only this one died. */
  copy(): MemoryInode {
    const copy = new MemoryInode()
    copy.#seen = this.#seen.slice()
    copy.#platter = this.#platter.slice()
    copy.size = this.size
    copy.#platterSize = this.#platterSize
    copy.#resized = this.#resized
    for (const sector of this.#dirty) copy.#dirty.add(sector)
    return copy
  }

  /** As the next process finds it after a power cut: any of the unsynced sectors are old, any new. */
  crashed(random: Random): MemoryInode {
    const after = this.copy()
    const survival = SURVIVALS[random.uint32() % SURVIVALS.length]!
    const sectors = [...after.#dirty].toSorted((a, b) => a - b)
    const kept = random.uint32() % (sectors.length + 1)
    const sizeKept = after.#resized && survival !== 'none' && (survival === 'all' || random.uint32() % 2 === 0)
    if (sizeKept) {
      after.#platter = grown(after.#platter, after.size)
      after.#platterSize = after.size
    }
    sectors.forEach((sector, i) => {
      const survives = survival === 'all' || (survival === 'prefix' && i < kept)
      if (survives || (survival === 'subset' && random.uint32() % 2 === 0)) after.#survive(sector)
    })
    after.#dirty.clear()
    after.#resized = false
    after.#platter.fill(0, after.#platterSize)
    after.#seen = after.#platter.slice()
    after.size = after.#platterSize
    return after
  }

  /** Turns one bit over, on the platter and for those who read. */
  flip(bit: number): void {
    const mask = 1 << (bit & 7)
    this.#seen[bit >>> 3]! ^= mask
    if (bit >>> 3 < this.#platter.length) this.#platter[bit >>> 3]! ^= mask
  }

  #survive(sector: number): void {
    const end = Math.min((sector + 1) * SECTOR_BYTES, this.size)
    if (end <= sector * SECTOR_BYTES) return
    this.#platter = grown(this.#platter, end)
    this.#store(sector)
    // A file never ends before a sector that it got.
    this.#platterSize = Math.max(this.#platterSize, end)
  }

  #store(sector: number): void {
    const start = sector * SECTOR_BYTES
    this.#platter.set(this.#seen.subarray(start, Math.min(start + SECTOR_BYTES, this.#platter.length)), start)
  }

  #resize(size: number): void {
    this.size = size
    this.#resized = true
  }

  #touch(start: number, end: number): void {
    for (let sector = Math.floor(start / SECTOR_BYTES); sector * SECTOR_BYTES < end; sector++) this.#dirty.add(sector)
  }
}

/** The bytes in an array of at least `size`, doubled when it must grow. */
function grown(bytes: Uint8Array<ArrayBuffer>, size: number): Uint8Array<ArrayBuffer> {
  if (size <= bytes.length) return bytes
  const larger = new Uint8Array(Math.max(size, bytes.length * 2))
  larger.set(bytes)
  return larger
}
