// What a file of a dashboard may hold: Grafana's own types, made to fit a file.
// Every key and enumeration is theirs but for those that are named here.
import type { AnnotationQuery, Dashboard, DataQuery, FieldConfig, Panel, RowPanel, VariableModel } from '@grafana/schema';
import type { Options as StatOptions } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type { FieldConfig as TimeSeriesField, Options as TimeSeriesOptions } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// In a file an enumeration of texts is the text, where the type has a name for it.
type Written<T> = T extends string ? `${T}` : T extends object ? { [K in keyof T]: Written<T[K]> } : T;

// Grafana fills in the options of a panel that are not there.
type Some<T> = T extends unknown[] ? T : T extends object ? { [K in keyof T]?: Some<T[K]> } : T;

// @grafana/schema leaves queries to the data sources. This is what Grafana's
// Prometheus data source says of its own (packages/grafana-prometheus/src/dataquery.ts),
// which is in no package that is only types.
interface Query extends DataQuery {
  expr: string;
  editorMode?: 'builder' | 'code';
  exemplar?: boolean;
  format?: 'time_series' | 'table' | 'heatmap';
  instant?: boolean;
  interval?: string;
  legendFormat?: string;
  range?: boolean;
}

// Of a panel the schema has options and custom as a record of anything, and says
// in a module for each type of panel what they are.
interface Drawn<Type extends string, Options, Custom> extends Omit<Panel, 'type' | 'targets' | 'options' | 'fieldConfig'> {
  type: Type;
  targets: Query[];
  options: Some<Options>;
  fieldConfig: Omit<NonNullable<Panel['fieldConfig']>, 'defaults'> & { defaults: Omit<FieldConfig, 'custom'> & { custom?: Custom } };
}

// What Prometheus' data source reads of an annotation beside the schema's keys.
interface Annotation extends AnnotationQuery<Query> {
  expr?: string; // the query, for a Grafana that does not look into target
  titleFormat?: string;
}

// Grafana shows definition in the list of variables, and exports it.
interface Variable extends VariableModel {
  definition?: string;
  query: string | { query: string; refId: string };
}

interface Typed extends Omit<Dashboard, 'panels' | 'annotations' | 'templating'> {
  panels: (RowPanel | Drawn<'stat', StatOptions, never> | Drawn<'timeseries', TimeSeriesOptions, TimeSeriesField>)[];
  annotations: { list: Annotation[] };
  templating: { list: Variable[] };
}

export type File = Written<Typed>;
