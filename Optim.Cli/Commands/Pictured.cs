using System.CommandLine;
using System.Text;
using Optim.Cli.Pictures;

namespace Optim.Cli.Commands;

/// <summary>The options of commands that draw: a file, and the terminal.</summary>
internal sealed class Pictured
{
    private readonly Option<string?> svg = new("--svg") { HelpName = "FILE", Description = "Draw the curves there, as SVG" };

    private readonly Option<bool> chart = new("--chart")
    {
        Description = "Draw the curves here, too, with characters (in a terminal that is done anyway)",
    };

    public IEnumerable<Option> Options => [svg, chart];

    public void AddTo(Command command)
    {
        foreach (var option in Options)
            command.Add(option);
    }

    /// <summary>Refuses a file that could not be written.</summary>
    public void Check(ParseResult parsed) => OutputFile.Checked(svg.Name, parsed.GetValue(svg));

    /// <summary>Draws it where it was asked for.</summary>
    public void Draw(ParseResult parsed, Picture picture, Screen screen)
    {
        if (parsed.GetValue(chart) || screen.IsLive)
            screen.Show(picture);
        OutputFile.Write(parsed.GetValue(svg), () => Encoding.UTF8.GetBytes(Svg.Of(picture)), "picture", screen);
    }
}
