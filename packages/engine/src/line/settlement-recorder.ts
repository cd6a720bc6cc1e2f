import type { Journal } from '../storage/journal.ts'
import { RECORD_RELEASE, RECORD_SETTLE, RELEASE_BYTES, SETTLE_BYTES } from '../storage/record.ts'

/** What a recorder asks of its shard. */
export interface RecorderHost {
  readonly journal: Journal
  /** The recorder has settlements to record: {@link SettlementRecorder.flush} is called before the next frame is cut. */
  settles(recorder: SettlementRecorder): void
}

/** Records what becomes of a line's entries; settlements in a row become one range. */
export class SettlementRecorder {
  readonly #host: RecorderHost
  readonly #line: number
  #from = -1
  #count = 0

  constructor(host: RecorderHost, line: number) {
    this.#host = host
    this.#line = line
  }

  settle(seq: number): void {
    if (this.#from >= 0) {
      if (seq === this.#from + this.#count) {
        this.#count++
        return
      }
      this.flush()
    } else this.#host.settles(this)
    this.#from = seq
    this.#count = 1
  }

  /** Records a whole range at once, behind what was settled before. */
  settleRange(from: number, count: number): void {
    this.flush()
    this.#record(from, count)
  }

  /** Records what was given back: `value` is the failed attempts plus one. */
  release(seq: number, value: number): void {
    const { journal } = this.#host
    journal.reserve(RELEASE_BYTES)
    const { view, at } = journal
    view.setUint16(at, RECORD_RELEASE, true)
    view.setUint16(at + 2, value, true)
    view.setUint32(at + 4, RELEASE_BYTES, true)
    view.setUint32(at + 8, this.#line, true)
    view.setFloat64(at + 12, seq, true)
    journal.commit(RELEASE_BYTES)
  }

  /** Appends to the journal what is settled and not yet recorded. */
  flush(): void {
    if (this.#from < 0) return
    const from = this.#from
    this.#from = -1
    this.#record(from, this.#count)
  }

  /** The line is gone: nobody needs to know what was settled. */
  forget(): void {
    this.#from = -1
  }

  #record(from: number, count: number): void {
    const { journal } = this.#host
    journal.reserve(SETTLE_BYTES)
    const { view, at } = journal
    view.setUint32(at, RECORD_SETTLE, true)
    view.setUint32(at + 4, SETTLE_BYTES, true)
    view.setUint32(at + 8, this.#line, true)
    view.setFloat64(at + 12, from, true)
    view.setFloat64(at + 20, count, true)
    journal.commit(SETTLE_BYTES)
  }
}
