import type { Contract } from './contract/contract.ts'
import type { RequestContract } from './contract/request-contract.ts'
import { SdkError } from './errors.ts'
import type { DeclaredRate, Declaration as HandlerDeclaration } from './inbox/declaration.ts'
import type { Sendable } from './outbox/outgoing.ts'
import type { AnswerHandler, AnswerOptions } from './request/answerer.ts'
import type { ScheduleOptions } from './schedule/declaration.ts'

/** A handler of requests as it was declared. */
export interface AnswerDeclaration {
  readonly contract: RequestContract
  readonly options: AnswerOptions
  readonly handler: AnswerHandler<RequestContract>
}

/** A schedule as it was declared. */
export interface ScheduleDeclaration {
  readonly expression: string
  readonly options: ScheduleOptions
  readonly contract: Sendable<never>
  readonly dataAt: (at: Date) => unknown
}

/** All that a service says about itself before it is started; what runs is made of it, once or, in tests, many times. */
export class Declarations<Tx> {
  readonly handlers: HandlerDeclaration<Tx>[] = []
  readonly answers: AnswerDeclaration[] = []
  readonly schedules: ScheduleDeclaration[] = []
  readonly #contracts = new Map<string, Contract>()
  #closed = false

  /** Every contract that handlers, answers, schedules or the program itself named. */
  get contracts(): readonly Contract[] {
    return [...this.#contracts.values()]
  }

  contract(name: string): Contract | undefined {
    return this.#contracts.get(name)
  }

  /** From now on nothing can be declared: what runs would not know of it. */
  close(): void {
    this.#closed = true
  }

  addHandler(declaration: HandlerDeclaration<Tx>): void {
    this.#assertOpen(`the handler "${declaration.name}"`)
    if (this.handlers.some(({ name }) => name === declaration.name))
      throw new SdkError('invalid_declaration', `two handlers have the name "${declaration.name}"; rename one`)
    const owner = this.handlers.find(({ contract }) => contract.name === declaration.contract.name)
    if (declaration.contract.kind === 'command' && owner !== undefined)
      throw new SdkError(
        'invalid_declaration',
        `the command "${declaration.contract.name}" has two handlers, "${owner.name}" and "${declaration.name}"; a command has one owner: make it an event, or one handler of both`,
      )
    this.#assertSameRate(declaration)
    this.addContract(declaration.contract)
    this.handlers.push(declaration)
  }

  addAnswer(declaration: AnswerDeclaration): void {
    const { name } = declaration.contract
    this.#assertOpen(`the answer to "${name}"`)
    if (this.answers.some(({ contract }) => contract.name === name))
      throw new SdkError('invalid_declaration', `the request "${name}" is answered twice; a request has one owner`)
    this.addContract(declaration.contract)
    this.answers.push(declaration)
  }

  addSchedule(declaration: ScheduleDeclaration): void {
    const { name } = declaration.options
    this.#assertOpen(`the schedule "${name}"`)
    if (this.schedules.some(({ options }) => options.name === name))
      throw new SdkError('invalid_declaration', `two schedules have the name "${name}"; rename one`)
    this.addContract(declaration.contract)
    this.schedules.push(declaration)
  }

  /** @throws {SdkError} `invalid_declaration` when another contract has the name, be it one that was made of the same */
  addContract(contract: Contract): void {
    const known = this.#contracts.get(contract.name)
    if (known === contract) return
    if (known === undefined) {
      this.#contracts.set(contract.name, contract)
      return
    }
    throw new SdkError(
      'invalid_declaration',
      known.kind === contract.kind
        ? `the ${contract.kind} "${contract.name}" is there as two different values; use one everywhere in the service, in handlers, schedules and \`sends\`: .next(), .key() and .sendAs() make another one, and so does a second copy of the package that it comes from`
        : `"${contract.name}" is declared as ${known.kind} and as ${contract.kind}; a name is one contract`,
    )
  }

  #assertSameRate(declaration: HandlerDeclaration<Tx>): void {
    const rate = rateOf(declaration)
    if (rate === null || rate.sharedAs === null) return
    const other = this.handlers.find((each) => {
      const known = rateOf(each)
      return known?.sharedAs === rate.sharedAs && (known.limit !== rate.limit || known.perMs !== rate.perMs)
    })
    if (other === undefined) return
    throw new SdkError(
      'invalid_declaration',
      `the handlers "${other.name}" and "${declaration.name}" share the rate "${rate.sharedAs}" and declare it differently; give both the same limit and time`,
    )
  }

  #assertOpen(what: string): void {
    if (this.#closed)
      throw new SdkError('invalid_declaration', `${what} is declared after the service was started; declare it before`)
  }
}

function rateOf<Tx>(declaration: HandlerDeclaration<Tx>): DeclaredRate | null {
  return declaration.kind === 'effect' ? declaration.rate : null
}
