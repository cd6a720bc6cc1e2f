// What a package of shared contracts, or a library around a service, exports: its declarations have to name the SDK's types.
import { command, event, request, service } from '@stathmos/sdk'
import { explore, testbed } from '@stathmos/sdk/testing'
import { memoryStore } from '@stathmos/sdk/stores/memory'
import { memoryEngine } from '@stathmos/sdk/transports/memory'
import type { OutboxStore, Store } from '@stathmos/sdk/contracts/store'
import type { Topology, Transport } from '@stathmos/sdk/contracts/transport'
import { z } from 'zod'

const ticket = z.object({ ticketId: z.string() })

export const Submitted = event('ticket.submitted', ticket)
  .key(({ ticketId }) => ticketId)
  .next(z.object({ ticketId: z.string(), title: z.string() }), (old) => ({ ...old, title: '' }))
export const Trusted = Submitted.trusting()
export const submitted = Submitted.of({ ticketId: 't1', title: 'tv' })
export const Close = command('ticket.close', ticket)
export const Find = request('experts.find', {
  input: z.object({ skill: z.string() }),
  output: z.object({ expertId: z.string() }),
  errors: { nobody: z.object({ nextFree: z.string() }) },
})

export const engine = memoryEngine()
export const store = memoryStore()
export const transport = engine.transport()
export const app = service('helpdesk', { store, transport })

export const described = () => app.describe()
export const scope = () => app.in(null as never)
export const submit = () => app.submit(Close, { ticketId: 't1' }, { externalId: 'DIR-1' })
export const sendNow = () => app.sendNow(Close, { ticketId: 't1' })
export const find = () => app.ask(Find, { skill: 'tv' })
export const door = () => app.http({ accept: [Close] })
export const settings = app.settings
export const agreed = () => app.settings.describe()
export const listed = () => app.register.list()
export const inspected = () => app.register.inspect('t1')
export const retried = () => app.register.retry({ state: 'parked' })
export const bed = () => testbed(app)
export const explored = () =>
  explore(
    { app: () => ({ app }) },
    async () => {},
    () => {},
  )
export const rows = async () => (await testbed(app)).table('tickets')

/** Ports that somebody implements. */
export type OwnStore = Store<{ readonly own: true }> & { readonly outbox: OutboxStore<{ readonly own: true }> }
export type OwnTransport = Transport & { readonly made: (topology: Topology) => void }
