import { seededRandom } from '@stathmos/std'

/** A promise of the broker was seen broken. */
export class BrokenPromise extends Error {
  override readonly name = 'BrokenPromise'
}

/** What the checker must know about a queue. */
export interface QueueNature {
  /** Its persistent messages survive. */
  readonly durable: boolean
  /** Name of the queue that its dead letters go to; null: they vanish. */
  readonly deadLettersTo: string | null
  /** It may give a message up by itself, without a dead letter. */
  readonly drops?: boolean
  /** Messages do not come in the order in which they were published. */
  readonly unordered?: boolean
}

/** What took effect together: a publish with all its places, or a transaction. */
export interface Group {
  readonly places: Place[]
  /** Messages that it settles. */
  readonly inputs: Place[]
  /** Known to be on disk. */
  sure: boolean
}

/** A message in one queue, as those who used the broker know it. */
export interface Place {
  readonly id: number
  readonly queue: string
  readonly lane: number
  readonly order: number
  readonly survives: boolean
  group: Group
  deliveries: number
  inHand: boolean
  /** How somebody asked for its end, not known yet to be on disk. */
  end: 'none' | 'accept' | 'reject' | 'purge'
  /** Must never be seen again. */
  gone: boolean
  /** It went over the schedule, and lost its place in the order. */
  postponed: boolean
  dead: Place | null
  /** What it is the dead letter of. */
  original: Place | null
  /** Failed attempts: on disk for sure, and at most. */
  failedMin: number
  failedMax: number
}

/** A message as it was found in a queue. */
export interface Sighting {
  readonly body: Uint8Array
  readonly redelivered: boolean
  readonly lane: number
  readonly attempts: number
}

/**
 * Keeps the accounts of what the broker was told and what it answered, by rules of its own, and throws
 * {@link BrokenPromise} when what it sees contradicts what was promised.
 */
export class Ledger {
  readonly #natures = new Map<string, QueueNature>()
  readonly #places = new Map<string, Map<number, Place>>()
  readonly #last = new Map<string, number>()
  #unsettled = new Set<Place>()
  #failures: { place: Place; failed: number }[] = []
  #nextId = 1
  #nextOrder = 1
  /** What was asked for was asked of the process that still runs. */
  #alive = true
  /** How much was checked: a run that checks nothing proves nothing. */
  readonly counts = { confirmed: 0, delivered: 0, answered: 0, survivors: 0, repeats: 0, deadLetters: 0 }

  queue(name: string, nature: QueueNature): void {
    this.#natures.set(name, nature)
    if (!this.#places.has(name)) this.#places.set(name, new Map())
  }

  /** A number for a new message; {@link bodyOf} makes its body. */
  nextId(): number {
    return this.#nextId++
  }

  group(): Group {
    return { places: [], inputs: [], sure: false }
  }

  /** The broker took the message for this queue; nothing is promised yet. */
  stored(group: Group, id: number, queue: string, lane: number, persistent: boolean): Place {
    const place = this.#place(group, id, queue, lane, persistent && this.#nature(queue).durable)
    group.places.push(place)
    return place
  }

  /** The broker said that the group is on disk. */
  confirmed(group: Group): void {
    if (group.sure) return
    this.counts.confirmed++
    this.#sure(group)
  }

  /** A message came to somebody's hands. */
  delivered(queue: string, sighting: Sighting): Place {
    this.counts.delivered++
    const place = this.#see(queue, sighting)
    const what = describe(place)
    if (place.inHand) throw new BrokenPromise(`${what} was delivered while it was in somebody's hands`)
    if (place.end === 'accept') throw new BrokenPromise(`${what} was delivered after it was accepted`)
    this.#requireMark(place, sighting)
    const nature = this.#nature(queue)
    if (nature.unordered !== true && !place.postponed) {
      const lane = `${queue} ${place.lane}`
      const last = this.#last.get(lane) ?? 0
      if (place.order < last && place.deliveries === 0) {
        throw new BrokenPromise(`${what} came after one that was published later`)
      }
      this.#last.set(lane, Math.max(last, place.order))
    }
    if (place.survives) this.#sure(place.group)
    if (place.original !== null) place.original.gone = true
    place.deliveries++
    place.inHand = true
    return place
  }

  /** Somebody saw a message without taking it. */
  requireKnown(body: Uint8Array): void {
    const id = idOf(body)
    if (!Buffer.from(body).equals(bodyOf(id))) throw new BrokenPromise(`message ${id} has another body`)
  }

  accept(place: Place, group?: Group): void {
    this.#end(place, 'accept')
    group?.inputs.push(place)
  }

  /** @param group the transaction that does it; nothing of the queue dies by itself then. */
  reject(place: Place, group?: Group): void {
    this.#end(place, this.#nature(place.queue).deadLettersTo === null ? 'accept' : 'reject')
    group?.inputs.push(place)
  }

  release(place: Place, options: { readonly failed?: boolean; readonly postponed?: boolean } = {}): void {
    place.inHand = false
    if (options.postponed === true) place.postponed = true
    if (options.failed !== true) return
    place.failedMax++
    this.#failures.push({ place, failed: place.failedMax })
  }

  /** Everything that waits in the queue was dropped. */
  purged(queue: string): void {
    for (const place of this.#places.get(queue)!.values()) {
      if (!place.gone && !place.inHand && place.end === 'none') this.#end(place, 'purge')
    }
  }

  /** The queue was deleted, with all that is in it. */
  deleted(queue: string): void {
    for (const place of this.#places.get(queue)!.values()) if (!place.gone) this.#end(place, 'accept')
  }

  /** Returns what to call when everything asked for so far is known to be on disk. */
  asked(): () => void {
    const asked = [...this.#unsettled]
    const failures = this.#failures
    this.#failures = []
    return () => {
      for (const place of asked) this.#answered(place)
      for (const { place, failed } of failures) place.failedMin = Math.max(place.failedMin, failed)
    }
  }

  /** Messages in somebody's hands. */
  *inHands(): Iterable<Place> {
    for (const places of this.#places.values()) for (const place of places.values()) if (place.inHand) yield place
  }

  /**
   * Compares the accounts with everything that a recovered broker holds, in the order in which it hands it
   * out. What is missing now must stay away, what is there must stay.
   */
  survived(found: ReadonlyMap<string, readonly Sighting[]>): void {
    this.#alive = false
    const seen = new Set<Place>()
    for (const place of this.inHands()) place.inHand = false
    for (const [queue, sightings] of found) this.#compare(queue, sightings, seen)
    for (const places of [...this.#places.values()]) {
      for (const place of places.values()) if (!place.gone) this.#requireWhole(place, seen)
    }
    const groups = new Set<Group>()
    for (const places of this.#places.values()) {
      for (const place of places.values()) if (!place.gone && !place.group.sure) groups.add(place.group)
    }
    for (const group of groups) this.#requireAtomic(group, seen)
    // What a transaction rejected has died for good where the transaction is there.
    for (const group of groups) if (group.places.some((place) => seen.has(place))) this.#sure(group)
    this.#forgetFresh(seen)
    for (const places of this.#places.values()) {
      for (const place of places.values()) {
        place.end = 'none'
        if (place.gone) continue
        if (seen.has(place)) this.#sure(place.group)
        else place.gone = true
      }
    }
    this.#unsettled = new Set()
    this.#failures = []
    this.#last.clear()
    this.counts.survivors += seen.size
    this.#alive = true
  }

  // ---- the rules

  /**
   * Whoever looked may have been the first to see that a message had died. It may do so again, for somebody
   * else or by another way, so that until a receiver has the dead letter either of the two may be there.
   */
  #forgetFresh(seen: Set<Place>): void {
    for (const dead of [...seen]) {
      const { original } = dead
      if (original === null || original.gone) continue
      this.#sure(original.group)
      this.#places.get(dead.queue)!.delete(dead.id)
      original.dead = null
      seen.delete(dead)
      seen.add(original)
    }
  }

  #compare(queue: string, sightings: readonly Sighting[], seen: Set<Place>): void {
    const last = new Map<number, number>()
    let lane = Number.POSITIVE_INFINITY
    for (const sighting of sightings) {
      const place = this.#see(queue, sighting)
      const what = describe(place)
      if (seen.has(place)) throw new BrokenPromise(`${what} is there twice`)
      seen.add(place)
      if (!place.survives) throw new BrokenPromise(`${what} should not have outlived the process`)
      this.#requireMark(place, sighting)
      place.failedMin = place.failedMax = sighting.attempts
      if (sighting.lane > lane) throw new BrokenPromise(`${what} came after a message of lower priority`)
      lane = sighting.lane
      if (this.#nature(queue).unordered === true || place.postponed) continue
      if (place.order < (last.get(place.lane) ?? 0)) throw new BrokenPromise(`${what} lost its place in the order`)
      last.set(place.lane, place.order)
    }
  }

  #requireWhole(place: Place, seen: ReadonlySet<Place>): void {
    const { dead } = place
    const deadSeen = dead !== null && seen.has(dead)
    if (seen.has(place)) {
      if (deadSeen) throw new BrokenPromise(`${describe(place)} is there, and so is its dead letter`)
      return
    }
    if (place.survives && place.group.sure && !this.#excused(place, seen)) {
      throw new BrokenPromise(`${describe(place)} was confirmed and is lost`)
    }
  }

  /** Whether its absence has a reason. */
  #excused(place: Place, seen: ReadonlySet<Place>): boolean {
    if (place.end === 'accept' || place.end === 'purge' || this.#nature(place.queue).drops === true) return true
    return place.dead !== null && (seen.has(place.dead) || place.dead.gone || this.#excused(place.dead, seen))
  }

  #requireAtomic(group: Group, seen: ReadonlySet<Place>): void {
    const places = group.places.filter(({ survives }) => survives)
    const there = places.find((place) => seen.has(place) || (place.dead !== null && seen.has(place.dead)))
    const missing = places.find((place) => !place.gone && !seen.has(place) && !this.#excused(place, seen))
    if (there !== undefined && missing !== undefined) {
      throw new BrokenPromise(`${describe(there)} is there without ${describe(missing)}, which came with it`)
    }
    for (const input of group.inputs) {
      if (there !== undefined && seen.has(input)) {
        throw new BrokenPromise(
          `${describe(there)} is there, and so is ${describe(input)}, which its transaction settled`,
        )
      }
      if (there !== undefined && input.end === 'reject' && input.survives && input.dead === null) {
        throw new BrokenPromise(`${describe(there)} is there without the dead letter of ${describe(input)}`)
      }
      if (missing !== undefined && input.end === 'reject' && input.dead !== null && seen.has(input.dead)) {
        throw new BrokenPromise(`${describe(input)} is a dead letter by a transaction that is not there`)
      }
      const kept = seen.has(input) || (input.dead !== null && seen.has(input.dead))
      if (missing !== undefined && input.survives && input.group.sure && !kept)
        throw new BrokenPromise(`${describe(input)} was settled by a transaction that is not there`)
    }
  }

  #requireMark(place: Place, sighting: Sighting): void {
    if (place.deliveries > 0 && !sighting.redelivered) {
      throw new BrokenPromise(`${describe(place)} came again without a mark`)
    }
    if (sighting.redelivered) this.counts.repeats++
    if (sighting.attempts < place.failedMin || sighting.attempts > place.failedMax) {
      const { failedMin, failedMax } = place
      throw new BrokenPromise(`${describe(place)} has ${sighting.attempts} attempts, not ${failedMin} to ${failedMax}`)
    }
  }

  #see(queue: string, sighting: Sighting): Place {
    const id = idOf(sighting.body)
    const place = this.#places.get(queue)?.get(id) ?? this.#deadLetter(queue, id, sighting)
    if (place === null) throw new BrokenPromise(`message ${id} is in queue ${queue}, where nobody put it`)
    if (!Buffer.from(sighting.body).equals(bodyOf(id))) throw new BrokenPromise(`${describe(place)} has another body`)
    if (place.gone) throw new BrokenPromise(`${describe(place)} was gone, and came back`)
    return place
  }

  /** The dead letter of a message of another queue, seen for the first time. */
  #deadLetter(queue: string, id: number, sighting: Sighting): Place | null {
    for (const [name, nature] of this.#natures) {
      if (nature.deadLettersTo !== queue) continue
      const original = this.#places.get(name)!.get(id)
      if (original === undefined || original.dead !== null) continue
      const what = describe(original)
      if (original.end === 'accept' && this.#alive)
        throw new BrokenPromise(`${what} was accepted, and became a dead letter`)
      if (original.inHand) throw new BrokenPromise(`${what} became a dead letter in somebody's hands`)
      this.counts.deadLetters++
      return this.#addDead(original, original.group, queue, sighting.lane)
    }
    return null
  }

  #end(place: Place, end: 'accept' | 'reject' | 'purge'): void {
    place.inHand = false
    if (place.end === 'none') place.end = end
    this.#unsettled.add(place)
  }

  #answered(place: Place): void {
    if (place.end === 'none' || place.gone) return
    const { deadLettersTo } = this.#nature(place.queue)
    // A message that was just dying, or was away on the schedule, escapes a purge.
    if (place.end === 'purge' && (deadLettersTo !== null || place.postponed)) return
    this.counts.answered++
    place.gone = true
    this.#unsettled.delete(place)
    if (place.end !== 'reject' || place.dead !== null || deadLettersTo === null) return
    this.#addDead(place, { places: [], inputs: [], sure: true }, deadLettersTo, 0)
  }

  #addDead(original: Place, group: Group, queue: string, lane: number): Place {
    const dead = this.#place(group, original.id, queue, lane, original.survives && this.#nature(queue).durable)
    dead.original = original
    original.dead = dead
    return dead
  }

  #sure(group: Group): void {
    if (group.sure) return
    group.sure = true
    for (const input of group.inputs) this.#answered(input)
  }

  #place(group: Group, id: number, queue: string, lane: number, survives: boolean): Place {
    const place: Place = {
      id,
      queue,
      lane,
      order: this.#nextOrder++,
      survives,
      group,
      deliveries: 0,
      inHand: false,
      end: 'none',
      gone: false,
      postponed: false,
      dead: null,
      original: null,
      failedMin: 0,
      failedMax: 0,
    }
    this.#places.get(queue)!.set(id, place)
    return place
  }

  #nature(queue: string): QueueNature {
    return this.#natures.get(queue)!
  }
}

/** The body of a message: its number, and bytes that only this number has. */
export function bodyOf(id: number): Uint8Array {
  const random = seededRandom(id)
  const size = random.uint32() % 10 === 0 ? random.uint32() % 2000 : random.uint32() % 100
  const head = Buffer.from(`${id}:`)
  return Buffer.concat([head, random.bytes(size)])
}

function idOf(body: Uint8Array): number {
  const id = Number.parseInt(Buffer.from(body.subarray(0, 16)).toString('latin1'), 10)
  if (Number.isNaN(id)) throw new BrokenPromise('a message came that nobody sent')
  return id
}

function describe(place: Place): string {
  return `message ${place.id} of queue ${place.queue}`
}
