import { portHolder, type PortHolder } from './port-holder.ts'

/** A listener cannot have its port. The message names who has it and every way out. */
export class PortInUseError extends Error {
  override readonly name = 'PortInUseError'
}

/** @param what the listener, as its option names it: `amqp`, `http` */
export function portInUse(
  what: string,
  port: number,
  holder: PortHolder | undefined = portHolder(port),
): PortInUseError {
  const who = holder === undefined ? 'another process' : `process ${holder.pid} (${holder.name})`
  const free = port + 1 <= 65_535 ? port + 1 : port - 1
  return new PortInUseError(
    [
      `the ${what} port ${port} is in use by ${who}`,
      `  ${`--${what}-port ${free}`.padEnd(22)}  another port for this listener`,
      `  --port-offset 10000     all ports 10000 higher`,
      `  --ports auto            any free ports`,
    ].join('\n'),
  )
}
