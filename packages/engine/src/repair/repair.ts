import { type Random, systemRandom } from '@stathmos/std'
import { TRANSIENT } from '../line/page.ts'
import { CHECKPOINT_NAMES } from '../recovery/checkpoint-file.ts'
import { parseJournalFileName } from '../storage/file-header.ts'
import type { Files, OpenFile } from '../storage/files.ts'
import { systemCode } from '../storage/storage-errors.ts'
import type { Definition } from '../topology/definition.ts'
import { type DataImage, NO_LINE, readDataDirectory } from './data-image.ts'
import type { Problem } from './journal-image.ts'
import type { LineImage } from './line-image.ts'
import { danglingEntries } from './verify.ts'
import { RepairedJournal } from './repaired-journal.ts'

export interface RepairOptions {
  /** Only says what would be done. */
  readonly dryRun: boolean
  readonly random?: Random
}

/** What a repair did, or would do. */
export interface RepairReport {
  /** What was wrong. Empty: nothing was done, and nothing needs to be. */
  readonly problems: readonly Problem[]
  /** What is not there any more, one sentence each. */
  readonly dropped: readonly string[]
  readonly messagesKept: number
  readonly entriesKept: number
  /** Queues that were made for messages whose own queue nobody knows any more. */
  readonly queuesMade: readonly string[]
  /** The file that told what exists in place of a checkpoint that cannot be read; null: none did, or none had to. */
  readonly definitionsFrom: string | null
  /** Where the original files are; null: they are where they were. */
  readonly movedTo: string | null
}

/** Where a repair writes before it changes anything. */
const REPAIR_DIRECTORY = 'repaired'
/** In there: everything is written, and the original files may go aside. */
const READY = 'READY'

/**
 * Makes a damaged data directory, which no broker has open, start again. Keeps everything that is whole and
 * says exactly what it could not keep; the original files go aside into `damaged`. Every message that is kept
 * comes marked as a repeat, and one whose settlement is among the damage comes again.
 *
 * A repair that was interrupted is finished by the next one; until then no broker starts.
 */
export async function repairDirectory(files: Files, directory: string, options: RepairOptions): Promise<RepairReport> {
  const made = `${directory}/${REPAIR_DIRECTORY}`
  const interrupted = await manifestOf(files, made)
  if (interrupted !== null) {
    if (!options.dryRun) await exchange(files, directory, made, interrupted)
    const problem = { file: made, offset: 0, what: 'a repair was interrupted' }
    const movedTo = options.dryRun ? null : interrupted.aside
    const nothing = { dropped: [], messagesKept: 0, entriesKept: 0, queuesMade: [], definitionsFrom: null }
    return { problems: [problem], ...nothing, movedTo }
  }
  const image = await readDataDirectory(files, directory)
  const orphans = orphanLines(image)
  const dropped = image.problems.map(({ file, offset, what }) => `${file}, offset ${offset}: ${what}`)
  for (const dangling of danglingEntries(image)) if (dangling !== null) dropped.push(dangling.what)
  const clean = dropped.length === 0
  const { messages, entries } = countKept(image, orphans)
  const queuesMade = clean ? [] : orphans.map(({ id }) => orphanName(id))
  const problems = clean ? [] : [...image.problems, ...danglingProblems(image, directory)]
  const kept = { messagesKept: messages, entriesKept: entries, queuesMade, definitionsFrom: image.definitionsFrom }
  const report = { problems, dropped, ...kept, movedTo: null }
  if (clean || options.dryRun) return report
  await write(files, made, options.random ?? systemRandom, image, orphans)
  const manifest = { fresh: await namesIn(files, `${made}/journal`), aside: await asideOf(files, directory) }
  await declareReady(files, directory, made, manifest)
  await exchange(files, directory, made, manifest)
  return { ...report, movedTo: manifest.aside }
}

function danglingProblems(image: DataImage, directory: string): Problem[] {
  const problems: Problem[] = []
  for (const dangling of danglingEntries(image)) {
    if (dangling !== null) problems.push({ file: `${directory}/journal`, offset: 0, what: dangling.what })
  }
  return problems
}

/**
 * Lines with messages that have nowhere to go: the definition of their queue is lost, or, of a schedule, perhaps
 * that of the exchanges that they are to go through.
 */
function orphanLines({ lines, names, records, checkpointLost, definitionsFrom }: DataImage): LineImage[] {
  const definitionsLost = checkpointLost && definitionsFrom === null
  return [...lines.values()].filter((line) => {
    const name = names.get(line.id)
    if (name !== undefined && !(name.isSchedule && definitionsLost)) return false
    for (const [, { position, size }] of line.live()) {
      if ((size & TRANSIENT) === 0 && records.find(position) !== -1) return true
    }
    return false
  })
}

function orphanName(line: number): string {
  return `recovered.${line}`
}

function orphanDefinition(line: number, home: number): Definition {
  const settings = { overflow: 'drop-head' } as const
  const queue = { name: orphanName(line), durable: true, exclusive: false, autoDelete: false, settings, opaque: '' }
  return { kind: 'queue', vhost: '/', firstLine: home, queue }
}

function countKept(image: DataImage, orphans: readonly LineImage[]): { messages: number; entries: number } {
  const kept = new Set<number>()
  let entries = 0
  for (const line of keptLines(image, orphans)) {
    for (const [, { position, size }] of line.live()) {
      const number = image.records.find(position)
      if (number === -1 || (size & TRANSIENT) !== 0) continue
      kept.add(number)
      entries++
    }
  }
  return { messages: kept.size, entries }
}

function keptLines({ lines, names }: DataImage, orphans: readonly LineImage[]): LineImage[] {
  return [...lines.values()].filter((line) => names.get(line.id) !== undefined || orphans.includes(line))
}

/** Writes the whole new directory aside. */
async function write(
  files: Files,
  made: string,
  random: Random,
  image: DataImage,
  orphans: readonly LineImage[],
): Promise<void> {
  await removeAll(files, `${made}/journal`)
  await removeAll(files, made)
  await files.makeDirectory(made)
  const journal = await RepairedJournal.begin(files, made, random, image)
  const { definitions, records } = image
  for (const definition of definitions) await journal.define(definition)
  if (orphans.length > 0 && !definitions.some(({ kind }) => kind === 'vhost')) {
    await journal.define({ kind: 'vhost', vhost: '/', scheduleLine: freeLine(image) })
  }
  /** A schedule's line stays the schedule's: what waited there gets another. */
  const isFree = (id: number): boolean => id !== NO_LINE && image.names.get(id) === undefined
  const homes = new Map(orphans.map(({ id }, i) => [id, isFree(id) ? id : freeLine(image) + 1 + i]))
  for (const [id, home] of homes) await journal.define(orphanDefinition(id, home))
  const moved = new Map<number, number>()
  const source = new Source(files, records.files)
  try {
    for (const line of keptLines(image, orphans)) {
      let seq = 0
      for (const [, entry] of line.live()) {
        const number = records.find(entry.position)
        if (number === -1 || (entry.size & TRANSIENT) !== 0) continue
        let position = moved.get(number)
        if (position === undefined) {
          const { file, offset, length } = records.place(number)
          position = await journal.message(await source.read(file, offset, length))
          moved.set(number, position)
        }
        const home = homes.get(line.id)
        // Nobody knows what the moment of an orphan means, so that it has none.
        if (home === undefined) await journal.place(line.id, seq++, position, entry)
        else await journal.place(home, seq++, position, { ...entry, at: 0, target: 0 })
      }
    }
  } finally {
    await source.close()
  }
  await journal.end(freeLine(image) + 1 + orphans.length)
}

/** From here on the new files count. */
async function declareReady(files: Files, directory: string, made: string, manifest: Manifest): Promise<void> {
  const bytes = Buffer.from(JSON.stringify(manifest))
  const ready = await files.open(`${made}/${READY}`, 'create')
  try {
    for (let at = 0; at < bytes.length;) at += await ready.write([bytes.subarray(at)], at)
    await ready.sync()
  } finally {
    await ready.close()
  }
  await sync(files, [`${made}/journal`, made, directory])
}

/** An id that no line ever had. */
function freeLine({ lines, checkpoint, definitions }: DataImage): number {
  let highest = Math.max(0, ...lines.keys(), (checkpoint?.nextLine ?? 1) - 1)
  for (const definition of definitions) {
    if (definition.kind === 'vhost') highest = Math.max(highest, definition.scheduleLine)
    if (definition.kind === 'queue') {
      highest = Math.max(highest, definition.firstLine + (definition.queue.settings.priorityMax ?? 0))
    }
  }
  return highest + 1
}

/** Names what a repair has written, so that it can be put in place whatever happens meanwhile. */
interface Manifest {
  /** The new journal files. */
  readonly fresh: readonly string[]
  /** Where the originals go. */
  readonly aside: string
}

/** Puts the originals aside and the new files in their place. May be done again from any point on. */
async function exchange(files: Files, directory: string, made: string, { fresh, aside }: Manifest): Promise<void> {
  await files.makeDirectory(`${aside}/journal`)
  await files.makeDirectory(`${aside}/index`)
  await files.makeDirectory(`${directory}/journal`)
  await files.makeDirectory(`${directory}/index`)
  await files.syncDirectory(directory)
  for (const name of await namesIn(files, `${directory}/journal`)) {
    if (parseJournalFileName(name) === null || fresh.includes(name)) continue
    await files.rename(`${directory}/journal/${name}`, `${aside}/journal/${name}`)
  }
  for (const name of await namesIn(files, `${directory}/index`)) {
    await files.rename(`${directory}/index/${name}`, `${aside}/index/${name}`)
  }
  const madeNames = await namesIn(files, made)
  const written = CHECKPOINT_NAMES.filter((name) => madeNames.includes(name))
  for (const name of await namesIn(files, directory)) {
    if (name === 'CLEAN' || written.includes(name)) await files.rename(`${directory}/${name}`, `${aside}/${name}`)
  }
  await sync(files, [`${aside}/journal`, `${aside}/index`, aside, directory])
  for (const name of await namesIn(files, `${made}/journal`)) {
    if (fresh.includes(name)) await files.rename(`${made}/journal/${name}`, `${directory}/journal/${name}`)
  }
  await sync(files, [`${directory}/journal`, `${made}/journal`])
  // The checkpoint comes last: whoever finds it here finds all the rest.
  for (const name of written) await files.rename(`${made}/${name}`, `${directory}/${name}`)
  await sync(files, [directory, made])
  await files.remove(`${made}/${READY}`)
  await files.syncDirectory(made)
}

/** What an interrupted repair has written; null: there is none, or it was not done with writing. */
async function manifestOf(files: Files, made: string): Promise<Manifest | null> {
  if (!(await namesIn(files, made)).includes(READY)) return null
  try {
    return JSON.parse(Buffer.from(await files.read(`${made}/${READY}`)).toString('utf8')) as Manifest
  } catch {
    return null
  }
}

/** Whether a repair was interrupted, so that what lies here is neither the old nor the new. */
export async function isHalfRepaired(files: Files, directory: string): Promise<boolean> {
  return (await manifestOf(files, `${directory}/${REPAIR_DIRECTORY}`)) !== null
}

/** The first name of its kind that is free. */
async function asideOf(files: Files, directory: string): Promise<string> {
  const names = await namesIn(files, directory)
  for (let number = 1; ; number++) {
    const name = number === 1 ? 'damaged' : `damaged-${number}`
    if (!names.includes(name)) return `${directory}/${name}`
  }
}

async function namesIn(files: Files, directory: string): Promise<string[]> {
  try {
    return await files.list(directory)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw error
  }
}

async function removeAll(files: Files, directory: string): Promise<void> {
  for (const name of await namesIn(files, directory)) {
    if (name !== 'journal' && name !== 'index') await files.remove(`${directory}/${name}`)
  }
}

async function sync(files: Files, directories: readonly string[]): Promise<void> {
  for (const directory of directories) await files.syncDirectory(directory)
}

/** Reads records out of the original files. */
class Source {
  readonly #files: Files
  readonly #paths: readonly string[]
  readonly #open = new Map<number, OpenFile>()

  constructor(files: Files, paths: readonly string[]) {
    this.#files = files
    this.#paths = paths
  }

  async read(file: number, offset: number, length: number): Promise<Uint8Array> {
    let open = this.#open.get(file)
    if (open === undefined) {
      open = await this.#files.open(this.#paths[file]!, 'read')
      this.#open.set(file, open)
    }
    const bytes = new Uint8Array(length)
    await open.read(bytes, offset)
    return bytes
  }

  async close(): Promise<void> {
    for (const open of this.#open.values()) await open.close()
  }
}
