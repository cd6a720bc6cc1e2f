import type { Activity } from './work/activity.ts'
import type { Clock } from './time/clock.ts'
import type { Log } from './log.ts'
import type { NewId } from './message/message-id.ts'
import type { Random } from './random.ts'
import type { Store } from './store/port.ts'
import type { Telemetry } from './telemetry/telemetry.ts'
import type { Transport } from './transport/port.ts'

/** What every part of a running service works with. */
export interface Surroundings<Tx> {
  /** The service's name, the `source` of its messages. */
  readonly service: string
  /** This process, for leases and error histories: `host:pid:xxxx`, unique among all that are running. */
  readonly process: string
  /** Of the program, for error histories; undefined when the service does not say. */
  readonly version?: string
  readonly store: Store<Tx>
  readonly transport: Transport
  readonly clock: Clock
  readonly random: Random
  readonly newId: NewId
  readonly log: Log
  readonly telemetry: Telemetry
  readonly activity: Activity
}
