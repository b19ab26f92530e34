/**
 * The types of each operation, derived from the generated contract. A call to an unknown operation does not compile.
 */
import type { paths } from './openapi';

type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';

/** The paths that have this method. */
export type PathOf<M extends Method> = {
  [P in keyof paths]: paths[P] extends Record<M, { responses: unknown }> ? P : never;
}[keyof paths];

export type Operation<P extends keyof paths, M extends Method> = NonNullable<paths[P][M]>;

type Json<Content> = Content extends { content: { 'application/json': infer Data } } ? Data : undefined;
type Success = 200 | 201 | 202 | 204;

/** The data of a successful answer. */
export type DataOf<O> = O extends { responses: infer Responses }
  ? { [Status in keyof Responses & Success]: Json<Responses[Status]> }[keyof Responses & Success]
  : never;

/**
 * An object with the property `Key` if the operation has inputs of this kind. If the contract requires one of these
 * inputs, the property is required, and otherwise it is optional.
 */
type Given<Key extends string, Value> = [Value] extends [undefined] | [never]
  ? unknown
  : undefined extends Value
    ? { [K in Key]?: Exclude<Value, undefined> }
    : { [K in Key]: Value };

type ParametersOf<O> = O extends { parameters: infer P } ? P : never;
type Part<O, Key extends string> = Key extends keyof ParametersOf<O> ? ParametersOf<O>[Key] : undefined;
type BodyOf<O> = O extends { requestBody: { content: { 'application/json': infer Body } } }
  ? Body
  : O extends { requestBody?: { content: { 'application/json': infer Body } } }
    ? Body | undefined
    : undefined;

export type RequestOf<O> = Given<'path', Part<O, 'path'>> &
  Given<'query', Part<O, 'query'>> &
  Given<'headers', Part<O, 'header'>> &
  Given<'body', BodyOf<O>>;
