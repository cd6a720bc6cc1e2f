import type { Declarations } from './declarations.ts'
import { guaranteeOf, type Guarantee } from './inbox/guarantee.ts'
import type { DescribedSettings, SettingsDirectory } from './register/message-settings.ts'
import type { Surroundings } from './surroundings.ts'
import type { WireForm } from './wire/wire-form.ts'

/** What a service is made of and what it promises, as data: to be printed, compared and reviewed. */
export interface Description {
  readonly service: string
  readonly store: string
  readonly transport: string
  readonly form: string
  readonly contracts: readonly {
    readonly kind: string
    readonly name: string
    readonly version: number
    readonly keyed: boolean
  }[]
  readonly handlers: readonly Guarantee[]
  readonly answers: readonly string[]
  readonly schedules: readonly {
    readonly name: string
    readonly expression: string
    readonly timeZone: string
    readonly contract: string
  }[]
  readonly settings: readonly DescribedSettings[]
}

/** What of a service's surroundings is described. */
export interface Described extends Pick<Surroundings<never>, 'service'> {
  readonly store: Pick<Surroundings<never>['store'], 'name'>
  readonly transport: Pick<Surroundings<never>['transport'], 'name' | 'capabilities'>
  readonly form: WireForm
  readonly settings: SettingsDirectory
  /** For how long the inbox remembers what was handled. */
  readonly rememberedMs: number
}

/** The same for the same declarations in the same surroundings. */
export function describe<Tx>(
  { contracts, handlers, answers, schedules }: Declarations<Tx>,
  { service, store, transport, form, settings, rememberedMs }: Described,
): Description {
  return {
    service,
    store: store.name,
    transport: transport.name,
    form: form.name,
    contracts: contracts.map(({ kind, name, version, keyed }) => ({ kind, name, version, keyed })),
    handlers: handlers.map((declaration) => guaranteeOf(declaration, { service, store, transport, rememberedMs })),
    answers: answers.map(({ contract }) => contract.name),
    schedules: schedules.map(({ expression, options, contract }) => ({
      name: options.name,
      expression,
      timeZone: options.tz ?? 'UTC',
      contract: contract.name,
    })),
    settings: settings.describe(),
  }
}
