import type { Random } from '@stathmos/std'
import { TRANSIENT } from '../line/page.ts'
import { type Checkpoint, writeCheckpoint } from '../recovery/checkpoint-file.ts'
import type { FileTable } from '../storage/file-table.ts'
import type { Files } from '../storage/files.ts'
import { FRAME_HEADER_BYTES, FRAME_STORE_LIMITS } from '../storage/frame-store.ts'
import { LocalFrameStore } from '../storage/local-frame-store.ts'
import * as record from '../storage/record.ts'
import type { Definition } from '../topology/definition.ts'
import type { DataImage } from './data-image.ts'
import type { EntryImage } from './line-image.ts'

/** Frames of the new journal are cut at this size. */
const FRAME_BYTES = 1024 * 1024

const UTF8 = new TextEncoder()

/** Writes what is whole into a journal of its own: definitions first, then messages, then their places. */
export class RepairedJournal {
  readonly #files: Files
  readonly #directory: string
  readonly #store: LocalFrameStore
  readonly #table: FileTable
  #pieces: Uint8Array[] = []
  #bytes = FRAME_HEADER_BYTES

  private constructor(files: Files, directory: string, store: LocalFrameStore, table: FileTable) {
    this.#files = files
    this.#directory = directory
    this.#store = store
    this.#table = table
  }

  /** Begins behind everything that the old journal ever held, so that positions never come twice. */
  static async begin(files: Files, directory: string, random: Random, image: DataImage): Promise<RepairedJournal> {
    const { journal, checkpoint } = image
    const end = Math.max(journal.end, checkpoint?.position ?? 0)
    const incarnation = journal.incarnation ?? Buffer.from(random.bytes(16)).toString('hex')
    const table = { incarnation, epoch: journal.epochMax, end, current: journal.numberMax, files: [] }
    const limits = { ...FRAME_STORE_LIMITS, reserveBytes: 0 }
    const store = await LocalFrameStore.open({ files, directory, random, limits, table })
    await store.replay(end, () => {})
    return new RepairedJournal(files, directory, store, table)
  }

  async define(definition: Definition): Promise<void> {
    const json = UTF8.encode(JSON.stringify(definition))
    const bytes = new Uint8Array(record.RECORD_HEADER_BYTES + json.length)
    const view = new DataView(bytes.buffer)
    view.setUint32(0, record.RECORD_DEFINITION, true)
    view.setUint32(record.RECORD_LENGTH, bytes.length, true)
    bytes.set(json, record.RECORD_HEADER_BYTES)
    await this.#append(bytes)
  }

  /** Stores a message without its places, and returns its new position. */
  async message(old: Uint8Array): Promise<number> {
    const places = new DataView(old.buffer, old.byteOffset, old.length).getUint32(record.MESSAGE_PLACES, true)
    const skipped = places * record.PLACE_BYTES
    const bytes = new Uint8Array(old.length - skipped)
    bytes.set(old.subarray(0, record.MESSAGE_HEADER_BYTES))
    bytes.set(old.subarray(record.MESSAGE_HEADER_BYTES + skipped), record.MESSAGE_HEADER_BYTES)
    const view = new DataView(bytes.buffer)
    view.setUint32(record.RECORD_LENGTH, bytes.length, true)
    view.setUint32(record.MESSAGE_PLACES, 0, true)
    return this.#append(bytes)
  }

  async place(line: number, seq: number, position: number, entry: EntryImage): Promise<void> {
    const bytes = new Uint8Array(record.PLACE_RECORD_BYTES)
    const view = new DataView(bytes.buffer)
    view.setUint32(0, record.RECORD_PLACE | (entry.attempts << 16), true)
    view.setUint32(record.RECORD_LENGTH, bytes.length, true)
    view.setUint32(8, line, true)
    view.setUint32(12, seq >>> 0, true)
    view.setFloat64(16, position, true)
    view.setFloat64(24, entry.at, true)
    view.setUint32(32, (entry.size & ~TRANSIENT) >>> 0, true)
    view.setUint32(36, entry.target, true)
    await this.#append(bytes)
  }

  /** Puts the rest on disk, with a checkpoint that says where it begins. */
  async end(nextLine: number): Promise<void> {
    await this.#flush()
    await this.#store.close()
    const { end } = this.#table
    const checkpoint: Checkpoint = { position: end, nextLine, table: this.#table, definitions: [], lines: [] }
    await writeCheckpoint(this.#files, this.#directory, checkpoint)
  }

  async #append(bytes: Uint8Array): Promise<number> {
    if (this.#pieces.length > 0 && this.#bytes + bytes.length > FRAME_BYTES) await this.#flush()
    const position = this.#store.end + this.#bytes
    this.#pieces.push(bytes)
    this.#bytes += bytes.length
    return position
  }

  async #flush(): Promise<void> {
    if (this.#pieces.length === 0) return
    const pieces = [new Uint8Array(FRAME_HEADER_BYTES), ...this.#pieces]
    await this.#store.write(pieces, this.#bytes)
    this.#pieces = []
    this.#bytes = FRAME_HEADER_BYTES
  }
}
