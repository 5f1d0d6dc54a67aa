// Controls that all pages share. Every one can be reached and worked with the keyboard.

import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";
import { setTheme, theme } from "./theme";

export interface Choice<T extends string> {
  value: T;
  name: string;
  disabled?: boolean;
  title?: string;
}

/** One of a few, all visible. The arrow keys move the choice. */
export function Segments<T extends string>(props: {
  label: string;
  choices: Choice<T>[];
  value: T;
  onChange: (value: T) => void;
  tabs?: boolean;
}) {
  const row = useRef<HTMLDivElement>(null);
  const move = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const open = props.choices.filter((choice) => !choice.disabled);
    const at = open.findIndex((choice) => choice.value === props.value);
    const next = open[(at + step + open.length) % open.length];
    props.onChange(next.value);
    const index = props.choices.indexOf(next);
    row.current?.querySelectorAll("button")[index]?.focus();
  };
  return (
    <div
      class="segments"
      role={props.tabs ? "tablist" : "radiogroup"}
      aria-label={props.label}
      ref={row}
      onKeyDown={move}
    >
      {props.choices.map((choice) => {
        const on = choice.value === props.value;
        return (
          <button
            key={choice.value}
            type="button"
            role={props.tabs ? "tab" : "radio"}
            aria-selected={props.tabs ? on : undefined}
            aria-checked={props.tabs ? undefined : on}
            tabIndex={on ? 0 : -1}
            disabled={choice.disabled}
            title={choice.title}
            data-value={choice.value}
            onClick={() => props.onChange(choice.value)}
          >
            {choice.name}
          </button>
        );
      })}
    </div>
  );
}

/** One of several, in a list that opens; what is chosen should say what it is. */
export function Select<T extends string>(props: {
  class?: string;
  label: string;
  choices: Choice<T>[];
  value: T;
  onChange: (value: T) => void;
}) {
  return (
    <label class={`control ${props.class ?? ""}`}>
      <span class="visually-hidden">{props.label}</span>
      <select
        class="button"
        value={props.value}
        onChange={(event) => props.onChange(event.currentTarget.value as T)}
      >
        {props.choices.map((choice) => (
          <option key={choice.value} value={choice.value} disabled={choice.disabled}>
            {choice.name}
          </option>
        ))}
      </select>
    </label>
  );
}

export function Switch(props: {
  children: ComponentChildren;
  value: boolean;
  onChange: (value: boolean) => void;
  disabled?: boolean;
  title?: string;
}) {
  return (
    <label class="switch" title={props.title}>
      <input
        type="checkbox"
        role="switch"
        checked={props.value}
        disabled={props.disabled}
        onChange={(event) => props.onChange(event.currentTarget.checked)}
      />
      <span>{props.children}</span>
    </label>
  );
}

export function ThemeButton() {
  const next = theme.value === "dark" ? "light" : "dark";
  return (
    <button
      type="button"
      class="button icon"
      aria-label={`Switch to ${next} colours`}
      title={`Switch to ${next} colours`}
      data-theme-switch
      onClick={() => setTheme(next)}
    >
      <svg width="18" height="18" viewBox="0 0 18 18" aria-hidden="true">
        <circle cx="9" cy="9" r="6.5" fill="none" stroke="currentColor" stroke-width="1.6" />
        <path d="M9 2.5a6.5 6.5 0 0 1 0 13z" fill="currentColor" />
      </svg>
    </button>
  );
}

/** The bar at the top of a page. */
export function Bar(props: { title: string; facts: string; children?: ComponentChildren }) {
  return (
    <header class="bar">
      <span class="brand">
        <svg width="22" height="22" viewBox="0 0 22 22" fill="none" aria-hidden="true">
          <path d="M4 5C11 5 11 17 18 17M4 11c7 0 7-6 14-6M4 17c7 0 7-6 14-6" stroke="currentColor" stroke-width="1.8" />
          <g fill="currentColor">
            <circle cx="4" cy="5" r="2.2" />
            <circle cx="4" cy="11" r="2.2" />
            <circle cx="4" cy="17" r="2.2" />
            <circle cx="18" cy="5" r="2.2" />
            <circle cx="18" cy="11" r="2.2" />
            <circle cx="18" cy="17" r="2.2" />
          </g>
        </svg>
        bertology
      </span>
      <div class="subject">
        <h1>{props.title}</h1>
        <span class="facts">{props.facts}</span>
      </div>
      {props.children}
      <ThemeButton />
    </header>
  );
}
