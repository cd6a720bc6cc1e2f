export interface RabbitmqNode {
  readonly url: string
  readonly port: number
  readonly dir: string
  readonly version: string
  /** Runs rabbitmqctl on the node. */
  control(...args: readonly string[]): Promise<void>
  stop(options?: { readonly keep?: boolean }): Promise<void>
  kill(options?: { readonly keep?: boolean }): Promise<void>
}

export function rabbitmqHome(): string | undefined
export function rabbitmqVersion(): string | undefined
export function startRabbitmq(options?: { readonly dir?: string; readonly port?: number }): Promise<RabbitmqNode>
