import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { declareManifest, manifestTopology } from '../declare-manifest.ts'
import { SdkError } from '../errors.ts'
import { standardErrorLog } from '../log.ts'
import type { Manifest } from '../schema/manifest.ts'
import { amqp } from '../transport/amqp/index.ts'
import { embedded } from '../transport/embedded/index.ts'
import type { ConsumerTopology, Transport } from '../transport/port.ts'
import { tell, type Command, type Invocation } from './command.ts'
import { readManifest } from './schema-commands.ts'
import { UsageError } from './usage-error.ts'

/** `declare`: makes what the service needs at its engine, and starts nothing. */
export const declare: Command = async (invocation) => {
  const { app, flags } = invocation
  if (flags.engine !== undefined || flags['engine-file'] !== undefined)
    throw new UsageError('--engine goes with --manifest; a service that is loaded says itself where its engine is')
  const manifest = app.manifest()
  await app.declare()
  told(invocation, [manifest])
  return true
}

/**
 * `declare --manifest <file> … --engine <address>`: the same for any number of services, whose programs are not loaded. All
 * files are read and compared before anything is made.
 */
export async function declareManifests(invocation: Omit<Invocation, 'app'>): Promise<boolean> {
  const { flags, io } = invocation
  if (flags.app !== undefined)
    throw new UsageError('--app and --manifest are both given; a manifest stands for the service that wrote it')
  const engine = await engineOf(invocation)
  const files = (flags.manifest ?? []).map((file) => resolve(io.cwd, file))
  const manifests = await Promise.all(files.map(readManifest))
  assertApart(manifests)
  for (const manifest of manifests)
    await declareManifest(manifest, transportTo(engine, manifest, io.cwd), standardErrorLog)
  told(invocation, manifests)
  return true
}

function told(invocation: Omit<Invocation, 'app'>, manifests: readonly Manifest[]): void {
  const declared = manifests.map(({ service, consumers = [] }) => ({ service, consumers }))
  tell(invocation, declared, () => {
    const lines = declared.flatMap(({ consumers }) => consumers.map(lineOf))
    return `${[...lines, `${declared.map(({ service }) => service).join(', ')} can be started, and gets what is sent from now on`].join('\n')}\n`
  })
}

function lineOf({ queue, contract, ordered, partitions }: ConsumerTopology): string {
  return `${queue}: ${contract.kind} ${contract.type}${ordered ? `, in order, ${partitions} partitions` : ''}`
}

async function engineOf({ flags, io }: Omit<Invocation, 'app'>): Promise<string> {
  const { engine, 'engine-file': file } = flags
  if ((engine === undefined) === (file === undefined))
    throw new UsageError(
      'say where the manifests are to be declared, once: --engine amqp://…, --engine <directory>, or --engine-file <file with the address>',
    )
  if (engine !== undefined) return engine
  try {
    return (await readFile(resolve(io.cwd, file!), 'utf8')).trim()
  } catch (cause) {
    throw new UsageError(`${file} cannot be read; it is to hold the address of the engine`, { cause })
  }
}

/** The address is not told: there may be a password in it. */
function transportTo(engine: string, { queueArguments = {} }: Manifest, cwd: string): Transport {
  if (/^amqps?:/.test(engine)) return amqp({ url: engine, queueArguments })
  if (engine === '' || /^[a-z+]+:\/\//i.test(engine))
    throw new UsageError(
      '--engine is no address of a broker and no directory; write amqp://user:password@host:5672/vhost',
    )
  return embedded({ dataDir: resolve(cwd, engine) })
}

/** @throws {SdkError} `invalid_declaration` when services would take each other's messages */
function assertApart(manifests: readonly Manifest[]): void {
  const seen = new Map<string, string | undefined>()
  for (const manifest of manifests) {
    const places = manifestTopology(manifest).consumers.map(({ queue }) => `the queue "${queue}"`)
    for (const place of [...places, ...(manifest.owns ?? []).map((name) => `the contract "${name}"`)]) {
      if (seen.has(place))
        throw new SdkError(
          'invalid_declaration',
          `${place} is of ${seen.get(place)} and of ${manifest.service}; it has one owner, and one manifest is given of each service`,
        )
      seen.set(place, manifest.service)
    }
  }
}
