import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Message } from '../message/message.ts'
import { checkCompatibility, type CompatibilityMode } from '../schema/compatibility.ts'
import { parseManifest, type Manifest } from '../schema/manifest.ts'
import { checkStoredBodies } from '../schema/stored-bodies.ts'
import type { RegisterFilter, RegisterPage } from '../store/port.ts'
import type { AppOperations } from './app-operations.ts'
import { tell, type Command } from './command.ts'
import { UsageError } from './usage-error.ts'

const MODES: readonly CompatibilityMode[] = ['backward', 'forward', 'full']

/** `schema print`: the manifest, to be checked in. Always JSON. */
export const print: Command = async ({ app, io }) => {
  io.out(`${JSON.stringify(app.manifest(), null, 2)}\n`)
  return true
}

/** `schema check --against <file> …`, and with `--stored` against what lies in the store. */
export const check: Command = async (invocation) => {
  const { app, flags, io } = invocation
  const mode = MODES.find((each) => each === (flags.mode ?? 'full'))
  if (mode === undefined) throw new UsageError(`--mode is "${flags.mode}"; it is ${MODES.join(', ')}`)
  const files = flags.against ?? []
  if (files.length === 0 && flags.stored !== true)
    throw new UsageError('say what to compare with: --against contracts.json, as `schema print` wrote it, or --stored')
  const earlier = await Promise.all(files.map((file) => readManifest(resolve(io.cwd, file))))
  const findings = checkCompatibility(earlier, app.manifest(), mode)
  const bodies = flags.stored === true ? await checkStoredBodies(app.contracts, stored(app)) : null
  const told =
    bodies?.unreadable.map(({ id, type, version, error }) => ({ id, type, version, why: error.message })) ?? []
  tell(invocation, { findings, stored: bodies === null ? null : { ...bodies, unreadable: told } }, () => {
    const lines = [
      ...findings.map(({ certain, message }) => `${certain ? '' : 'perhaps: '}${message}`),
      ...told.map(({ id, why }) => `stored message ${id}: ${why}`),
      ...(bodies === null ? [] : [`${bodies.checked} stored messages, of which ${bodies.failed} cannot be read`]),
    ]
    return `${(lines.length === 0 ? ['all contracts get along'] : lines).join('\n')}\n`
  })
  return !findings.some(({ certain }) => certain) && (bodies?.failed ?? 0) === 0
}

/** @throws {UsageError} when there is no such file. @throws {SdkError} `malformed_message` */
export async function readManifest(file: string): Promise<Manifest> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (cause) {
    throw new UsageError(`${file} cannot be read; write it with \`stathmos app schema print > ${file}\``, { cause })
  }
  return parseManifest(text)
}

/**
 * What this program would still have to read: what it received and is not done with, and what it has to send itself, now or
 * later. What it only passes on, because nothing of it declares the contract, is for others to read.
 */
async function* stored({ contracts, register }: AppOperations): AsyncGenerator<Message> {
  const declared = new Set(contracts.map(({ name }) => name))
  for await (const message of all(register, { direction: 'in', state: [...RECEIVED] })) yield message
  for await (const message of all(register, { direction: 'out', state: [...TO_SEND] }))
    if (declared.has(message.type)) yield message
}

const RECEIVED = ['waiting', 'retrying', 'running', 'uncertain', 'parked'] as const
const TO_SEND = ['scheduled', 'pending', 'parked'] as const

async function* all(register: AppOperations['register'], filter: RegisterFilter): AsyncGenerator<Message> {
  let after: string | null = null
  do {
    const page: RegisterPage = await register.list(filter, { limit: 500, after })
    for (const { message } of page.entries) if (message !== null) yield message
    after = page.next
  } while (after !== null)
}
