import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Contract } from '../contract/contract.ts'
import type { Register } from '../register/register.ts'
import type { Manifest } from '../schema/manifest.ts'
import type { Store } from '../store/port.ts'
import { UsageError } from './usage-error.ts'

/** Of a service, what commands need; a `Service` has it. */
export interface AppOperations {
  readonly name: string
  readonly contracts: readonly Contract[]
  readonly register: Pick<
    Register<unknown>,
    'list' | 'count' | 'groups' | 'inspect' | 'retry' | 'redrive' | 'cancel' | 'edit' | 'purge'
  >
  readonly store: Pick<Store<unknown>, 'name' | 'check' | 'now' | 'close'> & {
    readonly outbox: Pick<Store<unknown>['outbox'], 'depth'>
  }
  migrate(): Promise<void>
  declare(): Promise<void>
  manifest(): Manifest
  /** What is declared, as values of JSON. */
  describe?(): unknown
}

/**
 * The service that a module exports as `app` or by default. Loading the module runs it: it has to declare the service and
 * not start it.
 *
 * @param from where a relative path begins
 * @throws {UsageError} naming what is wrong with the path or the module
 */
export async function loadApp(path: string | undefined, from: string): Promise<AppOperations> {
  if (path === undefined)
    throw new UsageError('no service is named; give the module that exports it: --app ./dist/app.js')
  const file = resolve(from, path)
  let module: { readonly app?: unknown; readonly default?: unknown }
  try {
    module = (await import(pathToFileURL(file).href)) as typeof module
  } catch (cause) {
    throw new UsageError(`${file} cannot be loaded: ${reasonOf(cause)}`, { cause })
  }
  const app = await (module.app ?? module.default)
  if (isApp(app)) return app
  const names = Object.keys(module).join(', ')
  throw new UsageError(
    `${file} exports no service${names === '' ? '' : `, only ${names}`}; export it as \`app\` or by default, as \`service\` made it`,
  )
}

function isApp(value: unknown): value is AppOperations {
  return typeof value === 'object' && value !== null && 'name' in value && 'register' in value && 'migrate' in value
}

function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause)
  const code = 'code' in cause ? cause.code : undefined
  if (code === 'ERR_UNKNOWN_FILE_EXTENSION')
    return 'this Node runs no TypeScript; compile it, and name the compiled file'
  return cause.message.split('\n', 1)[0]!
}
