using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Optim.Cli.Verification;

/// <summary>
/// What came of verifying as JSON: {version, seed, cases, interrupted, held, broken, left_out, rules: [{target, place, name, laws:
/// [{id, says, outcome, ...}]}]}. An outcome is "held" or "broken", both with cases and telling (how many of them could have broken the
/// law), or "left_out" with the rule's reason; "broken" has why, case, looks_like: [{where, defect}] and repeat, too.
/// </summary>
internal static class VerificationJson
{
    public static string Of(VerificationReport report, string version)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream, new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteString("version", version);
            json.WriteNumber("seed", report.Seed);
            json.WriteNumber("cases", report.Cases);
            json.WriteBoolean("interrupted", report.Interrupted);
            json.WriteNumber("held", report.Count(Outcome.Held));
            json.WriteNumber("broken", report.Count(Outcome.Broken));
            json.WriteNumber("left_out", report.Count(Outcome.LeftOut));
            json.WriteStartArray("rules");
            foreach (var rule in report.Tried.GroupBy(law => law.Rule))
            {
                json.WriteStartObject();
                json.WriteString("target", rule.Key.Target);
                json.WriteString("place", rule.Key.Place);
                json.WriteString("name", rule.Key.Name);
                json.WriteStartArray("laws");
                foreach (var law in rule)
                    Write(json, law);
                json.WriteEndArray();
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(stream.ToArray());
    }

    private static void Write(Utf8JsonWriter json, TriedLaw tried)
    {
        json.WriteStartObject();
        json.WriteString("id", tried.Law.Id);
        json.WriteString("says", tried.Law.Says);
        json.WriteString(
            "outcome",
            tried.Outcome switch
            {
                Outcome.Held => "held",
                Outcome.Broken => "broken",
                _ => "left_out",
            }
        );
        if (tried.Trial is not { } trial)
            json.WriteString("reason", tried.Law.OptOut);
        else
        {
            json.WriteNumber("cases", trial.Cases);
            json.WriteNumber("telling", trial.Telling);
            if (tried.Outcome == Outcome.Broken)
            {
                json.WriteString("why", trial.Problem);
                json.WriteString("case", trial.Case);
                json.WriteStartArray("looks_like");
                foreach (var known in tried.LooksLike)
                {
                    json.WriteStartObject();
                    json.WriteString("where", known.Where);
                    json.WriteString("defect", known.Defect);
                    json.WriteEndObject();
                }
                json.WriteEndArray();
                json.WriteString("repeat", tried.Repeat);
            }
        }
        json.WriteEndObject();
    }
}
