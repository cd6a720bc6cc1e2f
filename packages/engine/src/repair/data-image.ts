import { decodePage, Page, TRANSIENT } from '../line/page.ts'
import {
  type Checkpoint,
  type PageRow,
  readCheckpoint,
  readDefinitions,
  type StoredDefinitions,
} from '../recovery/checkpoint-file.ts'
import type { Files } from '../storage/files.ts'
import { FRAME_COPIES, FRAME_HEADER_BYTES, getPosition } from '../storage/frame.ts'
import { indexFileName, PageStore } from '../line/page-store.ts'
import * as record from '../storage/record.ts'
import { CorruptionError } from '../storage/storage-errors.ts'
import type { Definition } from '../topology/definition.ts'
import { readIndex } from './index-image.ts'
import { type JournalImage, type Problem, readJournal, type SoundFrame } from './journal-image.ts'
import { type EntryImage, LineImage } from './line-image.ts'
import { expiryIn, LineNames } from './line-names.ts'
import { RecordIndex } from './record-index.ts'

/** A data directory as its files tell it, and what is wrong with them. */
export interface DataImage {
  readonly problems: readonly Problem[]
  readonly journal: JournalImage
  readonly checkpoint: Checkpoint | null
  /** There was one, and nothing in it can be read. */
  readonly checkpointLost: boolean
  /** The file that told what exists in place of the lost checkpoint; null: none did, or none had to. */
  readonly definitionsFrom: string | null
  /** Every change of what exists, in order. */
  readonly definitions: readonly Definition[]
  readonly names: LineNames
  readonly lines: ReadonlyMap<number, LineImage>
  readonly records: RecordIndex
  readonly counts: { readonly frames: number; readonly records: number; readonly pages: number }
}

/** The line of messages whose places were in the lost checkpoint only. No real one has this id. */
export const NO_LINE = 0

const UTF8 = new TextDecoder()

/** Reads everything that can be read. Changes nothing. */
export async function readDataDirectory(files: Files, directory: string): Promise<DataImage> {
  const reader = new Reader(files, directory)
  return reader.read()
}

class Reader {
  readonly #files: Files
  readonly #directory: string
  readonly #problems: Problem[] = []
  readonly #definitions: Definition[] = []
  readonly #names = new LineNames()
  readonly #lines = new Map<number, LineImage>()
  readonly #records = new RecordIndex()
  readonly #fileNumbers = new Map<string, number>()
  #from = 0
  /** Definitions below are in what was read already. */
  #definedFrom = 0
  #definitionsFrom: string | null = null
  #frames = 0
  #recordCount = 0
  #pages = 0
  /** Lines may begin anywhere, and belong to queues that nobody can name. */
  #checkpointLost = false
  /** Messages without a place of their own that nothing read so far refers to, with their sizes. */
  readonly #unplaced = new Map<number, number>()

  constructor(files: Files, directory: string) {
    this.#files = files
    this.#directory = directory
  }

  async read(): Promise<DataImage> {
    const checkpoint = await this.#readCheckpoint()
    if (checkpoint !== null) {
      this.#from = this.#definedFrom = checkpoint.position
      for (const definition of checkpoint.definitions) this.#define(definition, this.#directory, 0)
      await this.#readPages(checkpoint)
    }
    const spare = await this.#readDefinitions()
    const names = await this.#files.list(this.#directory)
    const directory = `${this.#directory}/journal`
    const there = names.includes('journal')
    if (checkpoint === null && there && names.includes('index')) await this.#withoutCheckpoint(directory, spare)
    const journal = there
      ? await readJournal(this.#files, directory, checkpoint?.table ?? null, (frame) => this.#frame(frame))
      : { problems: [], torn: null, files: 0, end: 0, epochMax: 0, numberMax: 0, incarnation: null }
    this.#problems.push(...journal.problems)
    if (checkpoint !== null && journal.end < checkpoint.position) {
      const what = `the checkpoint is at position ${checkpoint.position}, and the journal ends at ${journal.end}`
      this.#problems.push({ file: directory, offset: 0, what })
    }
    for (const line of this.#lines.values()) for (const [, { position }] of line.live()) this.#unplaced.delete(position)
    const nowhere = this.#line(NO_LINE)
    for (const [position, size] of this.#unplaced) {
      nowhere.push(nowhere.nextSeq, { position, size, at: 0, target: 0, attempts: 0 })
    }
    return {
      problems: this.#problems,
      journal,
      checkpoint,
      checkpointLost: this.#checkpointLost,
      definitionsFrom: this.#definitionsFrom,
      definitions: this.#definitions,
      names: this.#names,
      lines: this.#lines,
      records: this.#records,
      counts: { frames: this.#frames, records: this.#recordCount, pages: this.#pages },
    }
  }

  async #readCheckpoint(): Promise<Checkpoint | null> {
    try {
      return await readCheckpoint(this.#files, this.#directory)
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error
      this.#problems.push({ file: `${this.#directory}/CHECKPOINT`, offset: 0, what: error.message })
      this.#checkpointLost = true
      return null
    }
  }

  /** Read in any case, so that damage is found before it is needed. */
  async #readDefinitions(): Promise<StoredDefinitions | null> {
    try {
      return await readDefinitions(this.#files, this.#directory)
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error
      this.#problems.push({ file: `${this.#directory}/DEFINITIONS`, offset: 0, what: error.message })
      return null
    }
  }

  // ---- the index

  async #readPages(checkpoint: Checkpoint): Promise<void> {
    const store = new PageStore(this.#files, `${this.#directory}/index`)
    try {
      for (const row of checkpoint.lines) {
        const line = this.#line(row.id)
        line.nextSeq = row.nextSeq
        for (const page of row.pages) await this.#readPage(store, line, page)
      }
    } finally {
      await store.close()
    }
  }

  async #readPage(store: PageStore, line: LineImage, row: PageRow): Promise<void> {
    this.#pages++
    const [file, offset, length] = row.at
    const problem = (what: string): void => {
      const path = `${this.#directory}/index/${indexFileName(file)}`
      this.#problems.push({ file: path, offset, what: `index page of line ${line.id}: ${what}` })
      line.lost(row.base, row.base + row.count)
    }
    const page = new Page(row.base)
    page.count = row.count
    try {
      decodePage(await store.read({ file, offset, length }), page, line.id)
    } catch (error) {
      return problem(error instanceof Error ? error.message : String(error))
    }
    let live = 0
    for (let i = 0; i < page.count; i++) if (!page.isSettled(i)) live++
    page.live = live
    line.add(page)
    if (live === row.live) return
    const path = `${this.#directory}/index/${indexFileName(file)}`
    const what = `index page of line ${line.id} has ${live} live entries, and the checkpoint says ${row.live}`
    this.#problems.push({ file: path, offset, what })
  }

  /** A checkpoint that is lost leaves its index pages behind; before the first one there is nothing to lose. */
  async #withoutCheckpoint(journal: string, spare: StoredDefinitions | null): Promise<void> {
    const index = await readIndex(this.#files, `${this.#directory}/index`)
    if (!this.#checkpointLost) {
      if (index.lines.size === 0 && spare === null) return
      const { problems } = await readJournal(this.#files, journal, null, () => {})
      if (problems.length === 0) return
      const what = 'it is missing, and the journal tells only a part of what it said'
      this.#problems.push({ file: `${this.#directory}/CHECKPOINT`, offset: 0, what })
      this.#checkpointLost = true
    }
    this.#problems.push(...index.problems)
    if (spare !== null) {
      this.#definedFrom = spare.position
      this.#definitionsFrom = `${this.#directory}/DEFINITIONS`
      for (const definition of spare.definitions) this.#define(definition, this.#definitionsFrom, 0)
    }
    for (const [id, pages] of index.lines) {
      const line = this.#line(id)
      for (const page of pages) line.add(page)
      this.#pages += pages.length
    }
  }

  // ---- the journal

  #frame(frame: SoundFrame): void {
    this.#frames++
    const { bytes, view, at, length, position, kind } = frame
    let file = this.#fileNumbers.get(frame.path)
    if (file === undefined) {
      file = this.#records.files.push(frame.path) - 1
      this.#fileNumbers.set(frame.path, file)
    }
    if (kind === FRAME_COPIES) {
      const count = view.getUint32(at + FRAME_HEADER_BYTES, true)
      const positions = at + FRAME_HEADER_BYTES + 8
      for (let i = 0; i < count; i++) {
        const original = getPosition(view, positions + i * 8)
        const offset = at + view.getUint32(positions + count * 8 + i * 4, true)
        const isOld = !this.#checkpointLost
        this.#record({ path: frame.path, file, bytes, view, at: offset, end: at + length, position: original, isOld })
      }
      return
    }
    const isOld = position < this.#from
    for (let offset = at + FRAME_HEADER_BYTES; offset < at + length;) {
      const rest = { path: frame.path, file, bytes, view, at: offset, end: at + length }
      const taken = this.#record({ ...rest, position: position + offset - at, isOld })
      if (taken === 0) return
      offset += taken
    }
  }

  /** Returns the length of the record, 0 when it has none that is possible. */
  #record(found: FoundRecord): number {
    const { bytes, view, at, end, isOld } = found
    const length = at + record.RECORD_HEADER_BYTES <= end ? view.getUint32(at + record.RECORD_LENGTH, true) : 0
    if (length < record.RECORD_HEADER_BYTES || at + length > end) {
      this.#wrong(found, 'a record has no length')
      return 0
    }
    this.#recordCount++
    switch (bytes[at]) {
      case record.RECORD_MESSAGE:
        this.#message(found, length)
        break
      case record.RECORD_PLACE:
        this.#place(found)
        break
      case record.RECORD_SETTLE: {
        const line = this.#lineOf(found, view.getUint32(at + 8, true))
        const from = view.getFloat64(at + 12, true)
        const count = view.getFloat64(at + 20, true)
        if (line === null) break
        if (!isOld && !this.#checkpointLost && from + count > line.nextSeq) {
          this.#wrong(found, `entries ${from} to ${from + count} of line ${line.id} are settled before they exist`)
        }
        line.settle(from, count)
        break
      }
      case record.RECORD_RELEASE:
        this.#lineOf(found, view.getUint32(at + 8, true))?.release(
          view.getFloat64(at + 12, true),
          view.getUint16(at + 2, true),
        )
        break
      case record.RECORD_DEFINITION:
        if (found.position >= this.#definedFrom) this.#definition(found, length)
        break
      default:
        this.#wrong(found, `a record has the unknown type ${bytes[at]}`)
    }
    return length
  }

  #message(found: FoundRecord, length: number): void {
    const { view, bytes, at, position } = found
    const places = view.getUint32(at + record.MESSAGE_PLACES, true)
    const body = view.getUint32(at + record.MESSAGE_BODY_LENGTH, true)
    const origin = view.getUint32(at + record.MESSAGE_ORIGIN_LENGTH, true)
    const address = view.getUint32(at + record.MESSAGE_ADDRESS_LENGTH, true)
    const extension = view.getUint32(at + record.MESSAGE_EXTENSION_LENGTH, true)
    const head = record.MESSAGE_HEADER_BYTES + places * record.PLACE_BYTES
    if (head + address + origin + extension + body !== length) {
      this.#wrong(found, 'the parts of a message do not make up its length')
      return
    }
    this.#records.add(position, { file: found.file, offset: at, length })
    const isPersistent = (bytes[at + record.MESSAGE_FLAGS]! & record.FLAG_PERSISTENT) !== 0
    const size = isPersistent ? body : body | TRANSIENT
    if (places === 0 && this.#checkpointLost) this.#unplaced.set(position, size >>> 0)
    const stamp = view.getFloat64(at + record.MESSAGE_TIMESTAMP, true)
    const expires = view.getFloat64(at + record.MESSAGE_EXPIRES, true)
    for (let i = 0; i < places; i++) {
      const place = at + record.MESSAGE_HEADER_BYTES + i * record.PLACE_BYTES
      const id = view.getUint32(place, true)
      if (id === 0) continue
      const entry = {
        position,
        size: size >>> 0,
        at: expiryIn(this.#names.get(id), stamp, expires),
        target: 0,
        attempts: 0,
      }
      this.#enter(found, id, view.getUint32(place + 4, true), entry)
    }
  }

  #place(found: FoundRecord): void {
    const { view, at } = found
    const entry = {
      position: view.getFloat64(at + 16, true),
      size: view.getUint32(at + 32, true),
      at: view.getFloat64(at + 24, true),
      target: view.getUint32(at + 36, true),
      attempts: view.getUint16(at + 2, true),
    }
    this.#unplaced.delete(entry.position)
    this.#enter(found, view.getUint32(at + 8, true), view.getUint32(at + 12, true), entry)
  }

  #enter(found: FoundRecord, id: number, low: number, entry: EntryImage): void {
    const line = this.#lineOf(found, id)
    if (line === null) return
    const seq = line.sequenceOf(low)
    if (found.isOld) return line.recall(seq, entry)
    if (seq !== line.nextSeq) {
      if (!this.#checkpointLost)
        this.#wrong(found, `line ${id} expects entry ${line.nextSeq}, and the record has ${seq}`)
      if (seq < line.nextSeq) return
    }
    line.push(seq, entry)
  }

  #definition(found: FoundRecord, length: number): void {
    const json = UTF8.decode(found.bytes.subarray(found.at + record.RECORD_HEADER_BYTES, found.at + length))
    try {
      this.#define(JSON.parse(json) as Definition, found.path, found.at)
    } catch {
      this.#wrong(found, 'a definition is no JSON')
    }
  }

  #define(definition: Definition, file: string, offset: number): void {
    const gone = this.#names.apply(definition)
    if (typeof gone === 'string') {
      this.#problems.push({ file, offset, what: gone })
      return
    }
    this.#definitions.push(definition)
    for (const line of gone) this.#lines.delete(line)
  }

  /** Null: the record is of no interest, because a whole index page says the same and more. */
  #lineOf(found: FoundRecord, id: number): LineImage | null {
    if (id === 0) return null
    if (!found.isOld) return this.#line(id)
    const line = this.#lines.get(id)
    return line?.rebuilds === true ? line : null
  }

  #line(id: number): LineImage {
    const line = this.#lines.get(id) ?? new LineImage(id)
    this.#lines.set(id, line)
    return line
  }

  #wrong(found: FoundRecord, what: string): void {
    this.#problems.push({ file: found.path, offset: found.at, what })
  }
}

interface FoundRecord {
  readonly path: string
  readonly file: number
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly at: number
  /** Where its frame ends. */
  readonly end: number
  readonly position: number
  /** It lies below the checkpoint, which knows what became of it. */
  readonly isOld: boolean
}
